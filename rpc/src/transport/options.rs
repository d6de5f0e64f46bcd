//! What the system is told about a connection: keep-alive, buffers, where it leaves from. Flags give the defaults.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use bvar::flag::{self, Flag};
use socket2::{SockRef, Socket, TcpKeepalive};

static KEEPALIVE: Flag<bool> =
    Flag::new("socket_keepalive", false, "Whether the system asks silent peers whether they are there");
static KEEPALIVE_IDLE: Flag<i32> = Flag::new(
    "socket_keepalive_idle_s",
    -1,
    "Seconds of silence before a peer is asked; not above 0: the system's",
);
static KEEPALIVE_INTERVAL: Flag<i32> = Flag::new(
    "socket_keepalive_interval_s",
    -1,
    "Seconds until a peer is asked again; not above 0: the system's",
);
static KEEPALIVE_COUNT: Flag<i32> = Flag::new(
    "socket_keepalive_count",
    -1,
    "A peer that leaves so many questions open is gone; not above 0: the system's",
);
static USER_TIMEOUT: Flag<i32> = Flag::new(
    "socket_tcp_user_timeout_ms",
    -1,
    "How long sent bytes may wait for the peer's acknowledgement; not above 0: as long as the system tries",
);
static RECV_BUFFER: Flag<i32> = Flag::new(
    "socket_recv_buffer_size",
    -1,
    "Bytes that the system keeps until they are read; not above 0: its own choice",
);
static SEND_BUFFER: Flag<i32> = Flag::new(
    "socket_send_buffer_size",
    -1,
    "Bytes that the system takes ahead of the peer; not above 0: its own choice",
);

pub(super) fn register_flags() {
    flag::register(&[
        &KEEPALIVE,
        &KEEPALIVE_IDLE,
        &KEEPALIVE_INTERVAL,
        &KEEPALIVE_COUNT,
        &USER_TIMEOUT,
        &RECV_BUFFER,
        &SEND_BUFFER,
    ]);
}

/// When the system asks a silent peer whether it is still there, and how often (brpc: `SocketKeepaliveOptions`). `None`:
/// the system's setting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Keepalive {
    /// After so much silence; whole seconds.
    pub idle: Option<Duration>,
    /// Again after so long without an answer; whole seconds.
    pub interval: Option<Duration>,
    /// The connection fails when so many questions have no answer.
    pub count: Option<u32>,
}

/// What the system is told about connections, before they are made or right after they are accepted. `TCP_NODELAY` is
/// always set. Its default reads the flags at that moment: take them from the command line before.
///
/// ```
/// let mut options = rpc::transport::SocketOptions::default();
/// options.tcp_user_timeout = Some(std::time::Duration::from_secs(5));
/// ```
///
/// Give it to a server's or a channel's builder. On Unix sockets only the sizes of buffers mean something; what a
/// transport of the program's own makes of it is its own affair.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SocketOptions {
    /// `SO_KEEPALIVE` and its times. Default: the flags `socket_keepalive` and `socket_keepalive_*`, off.
    pub keepalive: Option<Keepalive>,
    /// `TCP_USER_TIMEOUT`: a connection fails when sent bytes are not acknowledged for so long. Default: the flag
    /// `socket_tcp_user_timeout_ms`, none.
    pub tcp_user_timeout: Option<Duration>,
    /// `SO_RCVBUF`, bytes. Default: the flag `socket_recv_buffer_size`, the system's choice.
    pub recv_buffer_size: Option<usize>,
    /// `SO_SNDBUF`, bytes. Default: the flag `socket_send_buffer_size`, the system's choice.
    pub send_buffer_size: Option<usize>,
    /// The address that a channel's connections leave from. Default: the system chooses.
    pub client_host: Option<IpAddr>,
    /// The network device of a channel's connections (`SO_BINDTODEVICE`, at most 15 bytes). Default: the system chooses.
    pub device_name: Option<String>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        let keepalive = Keepalive {
            idle: seconds(&KEEPALIVE_IDLE),
            interval: seconds(&KEEPALIVE_INTERVAL),
            count: above_zero(&KEEPALIVE_COUNT),
        };
        SocketOptions {
            keepalive: KEEPALIVE.get().then_some(keepalive),
            tcp_user_timeout: above_zero(&USER_TIMEOUT).map(|ms| Duration::from_millis(ms.into())),
            recv_buffer_size: above_zero(&RECV_BUFFER).map(|bytes| bytes as usize),
            send_buffer_size: above_zero(&SEND_BUFFER).map(|bytes| bytes as usize),
            client_host: None,
            device_name: None,
        }
    }
}

fn above_zero(flag: &Flag<i32>) -> Option<u32> {
    u32::try_from(flag.get()).ok().filter(|value| *value > 0)
}

fn seconds(flag: &Flag<i32>) -> Option<Duration> {
    above_zero(flag).map(|seconds| Duration::from_secs(seconds.into()))
}

impl SocketOptions {
    /// Tells the system everything that a socket of either end may be told; `is_tcp`: also what is TCP's own.
    pub(super) fn apply(&self, socket: SockRef<'_>, is_tcp: bool) -> io::Result<()> {
        if let Some(bytes) = self.recv_buffer_size {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer_size {
            socket.set_send_buffer_size(bytes)?;
        }
        if !is_tcp {
            return Ok(());
        }
        if let Some(Keepalive { idle, interval, count }) = self.keepalive {
            socket.set_keepalive(true)?;
            let mut times = TcpKeepalive::new();
            times = idle.into_iter().fold(times, TcpKeepalive::with_time);
            times = interval.into_iter().fold(times, TcpKeepalive::with_interval);
            times = count.into_iter().fold(times, TcpKeepalive::with_retries);
            socket.set_tcp_keepalive(&times)?;
        }
        if self.tcp_user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.tcp_user_timeout)?;
        }
        Ok(())
    }

    /// Tells the system where a connection leaves from.
    pub(super) fn bind(&self, socket: &Socket) -> io::Result<()> {
        if let Some(name) = &self.device_name {
            socket.bind_device(Some(name.as_bytes()))?;
        }
        if let Some(address) = self.client_host {
            socket.bind(&std::net::SocketAddr::new(address, 0).into())?;
        }
        Ok(())
    }
}
