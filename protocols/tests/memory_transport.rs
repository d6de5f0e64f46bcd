//! Servers and channels over a transport that the program has brought: nothing above one needs a descriptor.

#[path = "support/memory.rs"]
mod memory;
mod support;

use std::sync::Arc;

use iobuf::IoBuf;
use memory::Memory;
use rpc::CallOptions;
use support::{Channel, Echo, LONG, Server, call, call_with, request};

fn pair(kind: &str, protocol: &str) -> (Server, Channel, Memory) {
    let network = Memory::default();
    let server = Server::builder().add(Echo).start_on(network.clone()).unwrap();
    let channel = Channel::builder()
        .protocol(protocol)
        .connection_type(kind)
        .connector(Arc::new(network.clone()))
        .timeout(LONG)
        .connect("memory")
        .unwrap();
    (server, channel, network)
}

#[test]
fn calls_of_all_kinds_go_through_it() {
    for (kind, connects) in [("single", 1), ("pooled", 1), ("short", 20)] {
        let (server, channel, network) = pair(kind, "baidu_std");
        assert_eq!(channel.remote_side().to_string(), "memory");
        for _ in 0..20 {
            assert_eq!(call(&channel, "hello").unwrap(), "hello");
        }
        assert_eq!(network.connects(), connects, "{kind}");
        drop(channel);
        drop(server);
    }
}

#[test]
fn http_goes_through_it() {
    let (_server, channel, network) = pair("pooled", "http:proto");
    for _ in 0..5 {
        assert_eq!(call(&channel, "hello").unwrap(), "hello");
    }
    assert_eq!(network.connects(), 1);
}

#[test]
fn more_goes_through_it_than_it_holds() {
    let (_server, channel, _) = pair("single", "baidu_std");
    let bytes = vec![7; 3 << 20];
    let mut attachment = IoBuf::new();
    attachment.append(&bytes);
    let options = CallOptions::default().request_attachment(attachment);
    assert_eq!(call_with(&channel, options, &request("x")).unwrap().attachment.to_vec(), bytes);
}

#[test]
fn many_first_calls_make_one_connection() {
    for _ in 0..20 {
        let (_server, channel, network) = pair("single", "baidu_std");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(call(&channel, "hello").unwrap(), "hello"));
            }
        });
        assert_eq!(network.connects(), 1);
    }
}
