//! Calls that end in all ways at the same time: each ends once, and none is forgotten.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rpc::{CallOptions, CancelToken};

use crate::support::{Channel, EchoResponse, LONG, call, echo_method, request, start};

/// Passes bytes on to a server, and cuts connections after so many of them.
fn cutting_proxy(server: std::net::SocketAddr, bytes: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else { return };
            let pass = move |mut from: TcpStream, mut to: TcpStream| {
                let mut buffer = [0; 512];
                let mut left = bytes;
                while left > 0 {
                    let Ok(read @ 1..) = from.read(&mut buffer) else { break };
                    if to.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                    left = left.saturating_sub(read);
                }
                let _ = from.shutdown(std::net::Shutdown::Both); // it may have gone by itself
                let _ = to.shutdown(std::net::Shutdown::Both);
            };
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || pass(from, to));
            std::thread::spawn(move || pass(server, client));
        }
    });
    address
}

#[test]
fn each_call_ends_once_whatever_comes_first() {
    const CALLS: usize = 1500;
    let server = start();
    let rpc::Endpoint::Tcp(address) = *server.local_addr() else { panic!("not TCP") };
    for kind in ["single", "pooled", "short"] {
        let proxy = cutting_proxy(address, 3000);
        let channel =
            Channel::builder().connection_type(kind).timeout(LONG).max_retry(2).connect(proxy).unwrap();
        let ends = Arc::new((0..CALLS).map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let (done, is_done) = mpsc::channel();
        for number in 0..CALLS {
            let token = CancelToken::new();
            let mut options = CallOptions::default();
            if number % 3 == 0 {
                options = options.cancel_token(&token);
            }
            if number % 4 == 0 {
                options = options.timeout(Duration::from_micros(300 + number as u64 % 2000));
            }
            if number % 2 == 0 {
                options = options.backup_request(Duration::from_micros(200));
            }
            let (ends, done) = (ends.clone(), done.clone());
            let told = move |_: Result<rpc::Reply<EchoResponse>, rpc::RpcError>| {
                ends[number].fetch_add(1, Ordering::SeqCst);
                done.send(number).unwrap();
            };
            let handle = channel.call_then(echo_method(), options, &request("x"), told);
            match number % 6 {
                0 => token.cancel(),
                3 => drop(bthread::spawn(move || token.cancel())),
                5 => drop(bthread::spawn(move || handle.cancel())),
                _ => {}
            }
        }
        for ended in 0..CALLS {
            let told = is_done.recv_timeout(LONG);
            assert!(told.is_ok(), "{kind}: {ended} of {CALLS} have ended");
        }
        assert!(ends.iter().all(|ends| ends.load(Ordering::SeqCst) == 1), "{kind}");
        drop(channel);
    }
    // The server has come through it.
    assert_eq!(call(&crate::support::connect(&server), "x").unwrap(), "x");
}
