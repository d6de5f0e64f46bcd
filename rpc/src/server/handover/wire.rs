//! What two processes say to each other while one takes the other's sockets over. They run the same program or two
//! versions of it, so each message names its version.
//!
//! | who | bytes | means |
//! |---|---|---|
//! | successor | [`HELLO`] | asks for the sockets |
//! | predecessor | [`HELLO`], a count, a byte of flags for each socket; the sockets themselves as `SCM_RIGHTS` | gives them |
//! | successor | [`SERVES`] | serves on them |
//! | predecessor | [`ENDS`] | has left the path to the successor, and takes no more connections |

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use bthread::net::UnixStream;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Sockets that one process hands over at most: those that one message can carry (`SCM_MAX_FD`).
pub const LISTENERS_MAX: usize = 253;

/// Begins the conversation, with its version.
pub(super) const HELLO: [u8; 8] = *b"bobbin\0\x01";
pub(super) const SERVES: u8 = b'S';
pub(super) const ENDS: u8 = b'E';

/// The socket is for those who run the server.
const INTERNAL: u8 = 1;
/// The socket's path is removed with it.
const OWNS_PATH: u8 = 2;

/// A socket on its way.
pub(super) struct Handed<Fd> {
    pub(super) descriptor: Fd,
    pub(super) is_internal: bool,
    pub(super) owns_path: bool,
}

/// Expects the greeting of the other side.
pub(super) fn read_hello(stream: &mut UnixStream) -> io::Result<()> {
    let mut hello = [0; HELLO.len()];
    stream.read_exact(&mut hello)?;
    if hello == HELLO { Ok(()) } else { Err(broken("the other process speaks of something else")) }
}

/// Expects one byte.
pub(super) fn read_mark(stream: &mut UnixStream, expected: u8) -> io::Result<()> {
    let mut mark = [0];
    stream.read_exact(&mut mark)?;
    if mark[0] == expected { Ok(()) } else { Err(broken("the other process has lost its place")) }
}

/// Gives the sockets away. They are duplicated by the system.
pub(super) fn send(stream: &mut UnixStream, sockets: &[Handed<OwnedFd>]) -> io::Result<()> {
    let count = u8::try_from(sockets.len()).ok().filter(|count| usize::from(*count) <= LISTENERS_MAX);
    let count = count.ok_or_else(|| broken("too many sockets"))?;
    let mut bytes = HELLO.to_vec();
    bytes.push(count);
    bytes.extend(sockets.iter().map(|socket| {
        let internal = if socket.is_internal { INTERNAL } else { 0 };
        internal | if socket.owns_path { OWNS_PATH } else { 0 }
    }));
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.descriptor.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(broken("too many sockets"));
    }
    let sent = sendmsg(stream.as_fd(), &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    stream.write_all(&bytes[sent..])
}

/// Takes the sockets. `deadline`: for their arrival.
pub(super) fn receive(stream: &mut UnixStream, deadline: Instant) -> io::Result<Vec<Handed<OwnedFd>>> {
    let mut head = [0; HELLO.len() + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    bthread::fd::wait_readable(stream.as_fd(), Some(deadline))?;
    // The sockets come with the first byte.
    let received =
        recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut head)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    stream.read_exact(&mut head[received.bytes..])?;
    let (hello, count) = head.split_at(HELLO.len());
    if hello != HELLO {
        return Err(broken("the other process speaks of something else"));
    }
    let mut flags = vec![0; usize::from(count[0])];
    stream.read_exact(&mut flags)?;
    if descriptors.len() != flags.len() {
        return Err(broken("sockets are missing"));
    }
    let handed = |(descriptor, flags): (OwnedFd, u8)| Handed {
        descriptor,
        is_internal: flags & INTERNAL != 0,
        owns_path: flags & OWNS_PATH != 0,
    };
    Ok(descriptors.into_iter().zip(flags).map(handed).collect())
}

fn broken(how: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, how)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn sockets_arrive_as_they_were_sent() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let sockets: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let handed = |(index, socket): (usize, &TcpListener)| Handed {
            descriptor: socket.try_clone().unwrap().into(),
            is_internal: index == 1,
            owns_path: index == 2,
        };
        let sent: Vec<_> = sockets.iter().enumerate().map(handed).collect();
        send(&mut here, &sent).unwrap();
        let received = receive(&mut there, soon()).unwrap();
        assert_eq!(received.iter().map(|one| one.is_internal).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(received.iter().map(|one| one.owns_path).collect::<Vec<_>>(), [false, false, true]);
        for (one, socket) in received.into_iter().zip(&sockets) {
            let received = TcpListener::from(one.descriptor);
            assert_eq!(received.local_addr().unwrap(), socket.local_addr().unwrap());
        }
    }

    #[test]
    fn what_is_no_conversation_is_refused() {
        for bytes in [&b"bobbin\0\x02\x00"[..], b"bobbin\0\x01\x01\x00", b"bobbin\0\x01", b""] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            here.write_all(bytes).unwrap();
            drop(here);
            assert!(receive(&mut there, soon()).is_err(), "{bytes:?}");
        }
        let (mut here, mut there) = UnixStream::pair().unwrap();
        here.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert!(read_hello(&mut there).is_err());
        assert!(read_mark(&mut there, SERVES).is_err());
    }

    #[test]
    fn as_many_sockets_are_handed_over_as_the_system_can() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = || Handed {
            descriptor: socket.try_clone().unwrap().into(),
            is_internal: false,
            owns_path: false,
        };
        let mut sent: Vec<_> = (0..LISTENERS_MAX).map(|_| one()).collect();
        send(&mut here, &sent).unwrap();
        assert_eq!(receive(&mut there, soon()).unwrap().len(), LISTENERS_MAX);
        sent.push(one());
        assert!(send(&mut here, &sent).is_err());
    }
}
