//! An HTTP/1 client made of nothing but a socket and bytes, independent of the code under test.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A wait that takes longer than this has failed; no test passes by it.
const STUCK: Duration = Duration::from_secs(60);

/// One answer.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status; 0 if the connection was closed without an answer.
    pub status: u16,
    /// The fields as they came, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// The first field of this name, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection that asks.
#[derive(Debug)]
pub struct HttpPeer(TcpStream);

impl HttpPeer {
    /// Connects.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(STUCK)).expect("a live socket");
        stream.set_write_timeout(Some(STUCK)).expect("a live socket");
        HttpPeer(stream)
    }

    /// Sends a request, whole, and reads its answer.
    pub fn ask(&mut self, request: &str) -> HttpAnswer {
        // The server may have answered and closed before all of it is sent.
        let _ = self.0.write_all(request.as_bytes());
        self.receive(request.starts_with("HEAD "))
    }

    /// Asks for a path as curl does.
    pub fn get(&mut self, path: &str) -> HttpAnswer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Asks for a path as a browser does.
    pub fn browse(&mut self, path: &str) -> HttpAnswer {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Mozilla/5.0\r\n\r\n"))
    }

    /// The next answer. `to_head`: it has no body whatever it says.
    pub fn receive(&mut self, to_head: bool) -> HttpAnswer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                // A page that looks at threads has looked at this one.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return HttpAnswer { status: 0, fields: Vec::new(), body: head },
            }
        }
        let head = String::from_utf8(head).expect("heads are text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok()).expect("a status line");
        let fields = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = HttpAnswer { status, fields, body: Vec::new() };
        if !to_head && status >= 200 && !matches!(status, 204 | 304) {
            let length = answer.field("content-length").parse().expect("a body of known length");
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).expect("the whole body");
        }
        answer
    }
}
