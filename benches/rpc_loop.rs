//! The floor of the RPC benchmark: what the kernel alone costs. Answers baidu_std echo requests from one thread with
//! one epoll, one read and one write for all requests of a readable connection, and no instruction more than that
//! takes. It believes its peer: only a load generator should talk to it.
//!
//! ```text
//! rpc_loop ADDRESS
//! ```
//!
//! Holds unsafe: epoll, and plain reads and writes of descriptors.

#![allow(unsafe_code)]

use std::error::Error;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};

/// Bytes in front of a frame: a magic word, the size of the rest, the size of its description.
const HEADER: usize = 12;
/// The longest description of a reply: an empty response, the correlation id, the size of the attachment.
const REPLY_META_MAX: usize = 2 + 11 + 6;
/// Replies with more bytes are sent from where their requests were read.
const COPIED_MAX: usize = 16 << 10;
/// The room for requests that a connection begins with.
const ROOM: usize = 64 << 10;
const EVENTS: usize = 128;

struct Connection {
    fd: RawFd,
    /// `input[start..end]` is not answered yet.
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Small replies, of which the first `sent` bytes are gone.
    output: Vec<u8>,
    sent: usize,
    /// A large reply behind them, in `input`.
    in_place: std::ops::Range<usize>,
    waits_for_room: bool,
}

/// Why a connection is at its end: its peer closed it, or sent what is no request.
struct Closed;

impl Connection {
    fn new(fd: RawFd) -> Self {
        Connection {
            fd,
            input: vec![0; ROOM],
            start: 0,
            end: 0,
            output: Vec::new(),
            sent: 0,
            in_place: 0..0,
            waits_for_room: false,
        }
    }

    fn on_event(&mut self, readable: bool) -> Result<(), Closed> {
        if self.waits_for_room {
            self.waits_for_room = !self.send()?;
            if self.waits_for_room {
                return Ok(());
            }
            self.answer()?;
        } else if readable {
            self.read()?;
            self.answer()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), Closed> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.input.len() {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = &mut self.input[self.end..];
        // SAFETY: the kernel writes into a slice that is ours.
        let got = unsafe { libc::recv(self.fd, room.as_mut_ptr().cast(), room.len(), 0) };
        match got {
            1.. => self.end += got as usize,
            0 => return Err(Closed),
            _ if would_block() => {}
            _ => return Err(Closed),
        }
        Ok(())
    }

    /// Answers the whole requests, up to one whose answer the kernel does not take.
    fn answer(&mut self) -> Result<(), Closed> {
        while self.end - self.start >= HEADER {
            let frame = &self.input[self.start..self.end];
            let size =
                |at: usize| u32::from_be_bytes(frame[at..at + 4].try_into().expect("4 bytes")) as usize;
            let (body_size, meta_size) = (size(4), size(8));
            if frame.len() < HEADER + body_size {
                let needed = 2 * (HEADER + body_size);
                if self.input.len() < needed {
                    self.input.resize(needed, 0);
                }
                break;
            }
            let payload = self.start + HEADER + meta_size;
            let next = self.start + HEADER + body_size;
            let (head, head_size) = reply_head(&frame[HEADER..HEADER + meta_size], next - payload)?;
            let head = &head[..head_size];
            self.start = next;
            if next - payload <= COPIED_MAX {
                self.output.extend_from_slice(head);
                self.output.extend_from_slice(&self.input[payload..next]);
            } else {
                // A request names its method, so that its description is longer than that of the reply.
                self.in_place = payload - head.len()..next;
                self.input[self.in_place.start..payload].copy_from_slice(head);
                if !self.send()? {
                    self.waits_for_room = true;
                    return Ok(());
                }
            }
        }
        self.waits_for_room = !self.send()?;
        Ok(())
    }

    /// Whether all is gone.
    fn send(&mut self) -> Result<bool, Closed> {
        while self.sent < self.output.len() {
            match send(self.fd, &self.output[self.sent..])? {
                0 => return Ok(false),
                sent => self.sent += sent,
            }
        }
        self.output.clear();
        self.sent = 0;
        while !self.in_place.is_empty() {
            match send(self.fd, &self.input[self.in_place.clone()])? {
                0 => return Ok(false),
                sent => self.in_place.start += sent,
            }
        }
        Ok(true)
    }
}

/// How many bytes the kernel takes.
fn send(fd: RawFd, bytes: &[u8]) -> Result<usize, Closed> {
    // SAFETY: the kernel reads a slice that lives for the call.
    let sent = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
    match sent {
        0.. => Ok(sent as usize),
        _ if would_block() => Ok(0),
        _ => Err(Closed),
    }
}

fn would_block() -> bool {
    io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

/// What stands in front of the payload of a reply, and its size.
fn reply_head(meta: &[u8], payload_size: usize) -> Result<([u8; HEADER + REPLY_META_MAX], usize), Closed> {
    let (mut id, mut attachment, mut at) = (0, 0, 0);
    while at < meta.len() {
        let tag = varint(meta, &mut at)?;
        let value = varint(meta, &mut at)?;
        match tag {
            0x20 => id = value,
            0x28 => attachment = value,
            _ if tag & 7 == 2 => at += value as usize,
            _ => {}
        }
    }
    let mut head = [0; HEADER + REPLY_META_MAX];
    head[..4].copy_from_slice(b"PRPC");
    head[HEADER..HEADER + 2].copy_from_slice(&[0x12, 0]);
    let mut size = HEADER + 2;
    put(&mut head, &mut size, 0x20, id);
    if attachment > 0 {
        put(&mut head, &mut size, 0x28, attachment);
    }
    let meta_size = size - HEADER;
    head[4..8].copy_from_slice(&((meta_size + payload_size) as u32).to_be_bytes());
    head[8..12].copy_from_slice(&(meta_size as u32).to_be_bytes());
    Ok((head, size))
}

fn varint(bytes: &[u8], at: &mut usize) -> Result<u64, Closed> {
    let (mut value, mut shift) = (0, 0);
    while let Some(byte) = bytes.get(*at) {
        *at += 1;
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 {
            return Ok(value);
        }
        if shift > 63 {
            break;
        }
    }
    Err(Closed)
}

fn put(head: &mut [u8], size: &mut usize, tag: u8, mut value: u64) {
    head[*size] = tag;
    *size += 1;
    while value >= 128 {
        head[*size] = value as u8 | 128;
        *size += 1;
        value >>= 7;
    }
    head[*size] = value as u8;
    *size += 1;
}

fn checked(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// `fd` is reported with `token`; `control` adds or changes it.
fn watch(epoll: RawFd, control: libc::c_int, fd: RawFd, events: libc::c_int, token: usize) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events as u32, u64: token as u64 };
    // SAFETY: the kernel reads an event that lives for the call.
    checked(unsafe { libc::epoll_ctl(epoll, control, fd, &mut event) }).map(drop)
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: rpc_loop ADDRESS")?;
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // SAFETY: a plain system call.
    let epoll = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // The place of a connection is its token; the listener has the one that no connection gets.
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    watch(epoll, libc::EPOLL_CTL_ADD, listener.as_raw_fd(), libc::EPOLLIN, usize::MAX)?;
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        // SAFETY: the kernel writes into an array of so many events.
        let ready = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), EVENTS as libc::c_int, -1) };
        let ready = ready.max(0) as usize; // a signal is no event
        for event in &events[..ready] {
            let token = event.u64 as usize;
            if token == usize::MAX {
                while let Ok((stream, _)) = listener.accept() {
                    let token = free.pop().unwrap_or(connections.len());
                    if token == connections.len() {
                        connections.push(None);
                    }
                    connections[token] = Some(accept(epoll, stream, token)?);
                }
                continue;
            }
            let Some(connection) = &mut connections[token] else { continue };
            let waited = connection.waits_for_room;
            if connection.on_event(event.events & !(libc::EPOLLOUT as u32) != 0).is_err() {
                // SAFETY: the descriptor is ours, and forgotten here.
                unsafe { libc::close(connection.fd) };
                connections[token] = None;
                free.push(token);
            } else if waited != connection.waits_for_room {
                let events = if waited { libc::EPOLLIN } else { libc::EPOLLOUT };
                watch(epoll, libc::EPOLL_CTL_MOD, connection.fd, events, token)?;
            }
        }
    }
}

fn accept(epoll: RawFd, stream: TcpStream, token: usize) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    let fd = stream.into_raw_fd();
    watch(epoll, libc::EPOLL_CTL_ADD, fd, libc::EPOLLIN, token)?;
    Ok(Connection::new(fd))
}
