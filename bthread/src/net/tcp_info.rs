//! • What the system knows of a TCP connection (`TCP_INFO`, tcp(7)).
//!
//! Sound because the kernel writes at most the bytes that it is told there are, into a structure of numbers for which
//! any bytes are a value.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the system measures of a TCP connection; times in microseconds but for those since something, which are in
/// milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the kernel's")]
pub struct TcpInfo {
    pub state: u8,
    pub ca_state: u8,
    pub retransmits: u8,
    pub probes: u8,
    pub backoff: u8,
    pub options: u8,
    pub rto: u32,
    pub ato: u32,
    pub snd_mss: u32,
    pub rcv_mss: u32,
    pub unacked: u32,
    pub sacked: u32,
    pub lost: u32,
    pub retrans: u32,
    pub fackets: u32,
    pub last_data_sent: u32,
    pub last_ack_sent: u32,
    pub last_data_recv: u32,
    pub last_ack_recv: u32,
    pub pmtu: u32,
    pub rcv_ssthresh: u32,
    pub rtt: u32,
    pub rttvar: u32,
    pub snd_ssthresh: u32,
    pub snd_cwnd: u32,
    pub advmss: u32,
    pub reordering: u32,
}

/// Asks the system about a connection. One system call; does not block.
///
/// # Errors
/// The system's, for what is no TCP socket.
pub fn tcp_info(socket: BorrowedFd<'_>) -> io::Result<TcpInfo> {
    // SAFETY: all bytes zero are a value of a structure of numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` has room for `size` bytes and is borrowed for the call alone.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpInfo {
        state: info.tcpi_state,
        ca_state: info.tcpi_ca_state,
        retransmits: info.tcpi_retransmits,
        probes: info.tcpi_probes,
        backoff: info.tcpi_backoff,
        options: info.tcpi_options,
        rto: info.tcpi_rto,
        ato: info.tcpi_ato,
        snd_mss: info.tcpi_snd_mss,
        rcv_mss: info.tcpi_rcv_mss,
        unacked: info.tcpi_unacked,
        sacked: info.tcpi_sacked,
        lost: info.tcpi_lost,
        retrans: info.tcpi_retrans,
        fackets: info.tcpi_fackets,
        last_data_sent: info.tcpi_last_data_sent,
        last_ack_sent: info.tcpi_last_ack_sent,
        last_data_recv: info.tcpi_last_data_recv,
        last_ack_recv: info.tcpi_last_ack_recv,
        pmtu: info.tcpi_pmtu,
        rcv_ssthresh: info.tcpi_rcv_ssthresh,
        rtt: info.tcpi_rtt,
        rttvar: info.tcpi_rttvar,
        snd_ssthresh: info.tcpi_snd_ssthresh,
        snd_cwnd: info.tcpi_snd_cwnd,
        advmss: info.tcpi_advmss,
        reordering: info.tcpi_reordering,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;

    #[test]
    fn a_connection_is_described_and_other_sockets_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let info = tcp_info(stream.as_fd()).unwrap();
        assert_eq!(info.state, 1, "established");
        assert!(info.snd_mss > 0);
        assert!(tcp_info(UdpSocket::bind("127.0.0.1:0").unwrap().as_fd()).is_err());
    }
}
