//! UDP sockets.

use std::io::ErrorKind;

use bthread::net::UdpSocket;

use super::{SHORT, on_both};

#[test]
fn datagrams_arrive_one_by_one() {
    on_both(|| {
        let here = UdpSocket::bind("127.0.0.1:0").unwrap();
        let there = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (here_at, there_at) = (here.local_addr().unwrap(), there.local_addr().unwrap());
        let echo = bthread::spawn(move || {
            let mut buf = [0; 16];
            for _ in 0..100 {
                let (bytes, from) = there.recv_from(&mut buf).unwrap();
                there.send_to(&buf[..bytes], from).unwrap();
            }
        });
        here.connect(there_at).unwrap();
        assert_eq!(here.peer_addr().unwrap(), there_at);
        let mut buf = [0; 16];
        for n in 0..100u8 {
            here.send(&[n, 1]).unwrap();
            assert_eq!(here.peek(&mut buf).unwrap(), 2);
            assert_eq!(here.recv(&mut buf).unwrap(), 2);
            assert_eq!(buf[0], n);
        }
        echo.join().unwrap();
        here.set_read_timeout(Some(SHORT)).unwrap();
        assert_eq!(here.recv(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(here.local_addr().unwrap(), here_at);
    });
}
