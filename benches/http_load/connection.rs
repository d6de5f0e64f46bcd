//! One connection of the load generator: a request at a time, written whole, its answer read to the end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

/// Bytes of an answer, head and body, at most.
const ANSWER_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;

pub(crate) struct Connection {
    stream: TcpStream,
    /// When the request under way was due; `None`: there is none.
    due: Option<Instant>,
    /// Bytes of it that have been written.
    written: usize,
    /// What has arrived of the answer.
    answer: Vec<u8>,
}

pub(crate) enum Progress {
    /// To the request that was due at this time.
    Answered(Instant),
    Waiting,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let stream = std::net::TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection { stream, due: None, written: 0, answer: Vec::with_capacity(ANSWER_MAX) })
    }

    /// When the request under way was due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts a request; none is under way.
    pub(crate) fn send(&mut self, request: &[u8], due: Instant) -> io::Result<()> {
        self.due = Some(due);
        self.written = 0;
        self.write(request)
    }

    /// The kernel has room, or bytes, or both.
    pub(crate) fn advance(&mut self, request: &[u8]) -> io::Result<Progress> {
        let due = self.due;
        if due.is_some() {
            self.write(request)?;
        }
        self.read()?;
        match due {
            Some(due) if self.is_answered()? => {
                self.due = None;
                self.answer.clear();
                Ok(Progress::Answered(due))
            }
            Some(_) => Ok(Progress::Waiting),
            None if self.answer.is_empty() => Ok(Progress::Waiting),
            None => Err(io::Error::other("bytes that nobody has asked for")),
        }
    }

    fn write(&mut self, request: &[u8]) -> io::Result<()> {
        while self.written < request.len() {
            match self.stream.write(&request[self.written..]) {
                Ok(size) => self.written += size,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(size) if self.answer.len() + size > ANSWER_MAX => {
                    return Err(io::Error::other("an answer is too long"));
                }
                // Less than there was room for: the kernel has no more, and would say so next.
                Ok(size) if size < block.len() => {
                    self.answer.extend_from_slice(&block[..size]);
                    return Ok(());
                }
                Ok(size) => self.answer.extend_from_slice(&block[..size]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the whole answer is there, and nothing behind it.
    fn is_answered(&self) -> io::Result<bool> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(head) = response.parse(&self.answer).map_err(io::Error::other)? else {
            return Ok(false);
        };
        if response.code != Some(200) {
            return Err(io::Error::other(format!("status {:?}", response.code)));
        }
        let length =
            response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
        let body = length.ok_or_else(|| io::Error::other("no Content-Length"))?;
        match self.answer.len().cmp(&(head + body)) {
            std::cmp::Ordering::Less => Ok(false),
            std::cmp::Ordering::Equal => Ok(true),
            std::cmp::Ordering::Greater => Err(io::Error::other("bytes behind the answer")),
        }
    }
}
