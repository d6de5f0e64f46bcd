//! What the servers are asked, and what they must answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The body of an echo, and of its answer.
pub(crate) const ECHO_BODY: &str = r#"{"message":"hello"}"#;
/// The answer to a GET.
const GET_BODY: &str = "hello\n";
/// How long a server may take for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A JSON body becomes a message, and the message becomes a JSON body.
    Echo,
    /// A few bytes of text.
    Get,
}

impl Kind {
    pub(crate) fn key(self) -> &'static str {
        match self {
            Kind::Echo => "echo",
            Kind::Get => "get",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Kind::Echo => "/EchoService/Echo",
            Kind::Get => "/hello",
        }
    }

    pub(crate) fn body(self) -> Option<&'static str> {
        match self {
            Kind::Echo => Some(ECHO_BODY),
            Kind::Get => None,
        }
    }

    /// Panics unless the server answers as it should.
    pub(crate) fn check(self, name: &str, address: SocketAddr) {
        let request = match self {
            Kind::Echo => format!(
                "POST {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
                 Content-Length: {}\r\n\r\n{ECHO_BODY}",
                self.path(),
                ECHO_BODY.len()
            ),
            Kind::Get => {
                format!("GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n", self.path())
            }
        };
        let answer = ask(address, &request);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let wanted = if self == Kind::Echo { ECHO_BODY } else { GET_BODY };
        let is_right = head.starts_with("HTTP/1.1 200 ") && body == wanted;
        assert!(is_right, "{name} answers to {} {}:\n{answer}", self.key(), self.path());
    }
}

/// Sends a request and reads until the server closes, or has nothing more to say for a while.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(ANSWER_MAX)).expect("a timeout above 0");
    stream.write_all(request.as_bytes()).expect("a request to be taken");
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    // Some servers do not close although they are asked to.
    while let Ok(size @ 1..) = stream.read(&mut block) {
        answer.extend_from_slice(&block[..size]);
        if is_whole(&answer) {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn is_whole(answer: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return false };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    length.is_some_and(|length| answer.len() >= head + length)
}
