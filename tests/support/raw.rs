//! A baidu_std peer made of nothing but a socket and bytes, independent of the code under test
//! (`spec/protocols-baidu.md` §2).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A wait that takes longer than this has failed; no test passes by it.
const STUCK: Duration = Duration::from_secs(30);

/// A frame with this meta and body.
pub fn frame(meta: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = b"PRPC".to_vec();
    bytes.extend(((meta.len() + body.len()) as u32).to_be_bytes());
    bytes.extend((meta.len() as u32).to_be_bytes());
    bytes.extend(meta);
    bytes.extend(body);
    bytes
}

/// A request to `example.EchoService/Echo` with a message of less than 128 bytes.
pub fn request_frame(correlation: u8, message: &str) -> Vec<u8> {
    assert!(correlation < 128 && message.len() < 128, "one-byte varints");
    let mut request = vec![0x0a, 19];
    request.extend(b"example.EchoService");
    request.extend([0x12, 4]);
    request.extend(b"Echo");
    let mut meta = vec![0x0a, request.len() as u8];
    meta.extend(request);
    meta.extend([0x20, correlation]);
    let mut body = vec![0x0a, message.len() as u8];
    body.extend(message.as_bytes());
    frame(&meta, &body)
}

/// A connection that sends what it is told to.
#[derive(Debug)]
pub struct RawPeer(TcpStream);

impl RawPeer {
    /// Connects.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a live socket");
        stream.set_read_timeout(Some(STUCK)).expect("a live socket");
        stream.set_write_timeout(Some(STUCK)).expect("a live socket");
        RawPeer(stream)
    }

    /// A second handle to the same connection.
    pub fn clone_handle(&self) -> Self {
        RawPeer(self.0.try_clone().expect("a live socket"))
    }

    /// Has [`send`](Self::send) give up as soon as the other end has taken nothing for a moment.
    pub fn do_not_wait(&self) {
        self.0.set_write_timeout(Some(Duration::from_millis(100))).expect("a live socket");
    }

    /// Sends; false if the server has closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Says that nothing more will come.
    pub fn finish(&mut self) {
        // The server may have closed the connection before.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The next whole frame, or `None` if the server closes instead.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 12];
        self.0.read_exact(&mut bytes).ok()?;
        assert_eq!(&bytes[..4], b"PRPC");
        let body = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
        bytes.resize(12 + body, 0);
        self.0.read_exact(&mut bytes[12..]).ok()?;
        Some(bytes)
    }

    /// Everything until the server closes the connection.
    pub fn receive_rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => rest,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => rest,
            Err(error) => panic!("the server did not close the connection: {error}"),
        }
    }
}
