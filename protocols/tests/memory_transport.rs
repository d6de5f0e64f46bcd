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

/// A listener that says that it listens at an address of TCP, where nothing of the kind is.
struct At(Memory, std::net::SocketAddr);

impl rpc::transport::Listener for At {
    fn accept(&self) -> std::io::Result<(Box<dyn rpc::transport::Transport>, rpc::Endpoint)> {
        self.0.accept()
    }

    fn register(
        &self,
        handler: Arc<dyn rpc::transport::EventHandler>,
    ) -> std::io::Result<rpc::transport::Registration> {
        rpc::transport::Listener::register(&self.0, handler)
    }

    fn local(&self) -> std::io::Result<rpc::Endpoint> {
        Ok(rpc::Endpoint::Tcp(self.1))
    }
}

#[test]
fn servers_of_several_networks_have_the_same_port() {
    let serve = |ip: [u8; 4]| {
        let network = Memory::default();
        // No machine has these addresses: where they were bound, this would fail.
        let listener = At(network.clone(), (ip, 8000).into());
        let server = Server::builder().add(Echo).start_on(listener).unwrap();
        let channel = Channel::builder().connector(Arc::new(network.clone())).timeout(LONG);
        (server, channel.connect("anything").unwrap(), network)
    };
    let nodes = [serve([192, 0, 2, 1]), serve([192, 0, 2, 2]), serve([192, 0, 2, 1])];
    for (server, channel, network) in &nodes {
        assert!(server.local_addr().to_string().ends_with(":8000"));
        for _ in 0..3 {
            assert_eq!(call(channel, "hello").unwrap(), "hello");
        }
        assert_eq!(network.connects(), 1, "channels with different connectors share nothing");
        assert_eq!(server.method_reports().len(), 1);
    }
    assert!(bvar::describe("rpc_server_8000_connection_count").is_some());
    let [first, second, _third] = nodes;
    drop(first);
    assert_eq!(call(&second.1, "hello").unwrap(), "hello");
}

/// Panics the first time that it is to connect.
#[derive(Clone, Default)]
struct Panicking(Memory, Arc<std::sync::atomic::AtomicBool>);

impl rpc::transport::Connector for Panicking {
    fn resolve(&self, address: &str) -> Result<rpc::Endpoint, rpc::RpcError> {
        self.0.resolve(address)
    }

    fn connect(
        &self,
        remote: &rpc::Endpoint,
        options: &rpc::transport::SocketOptions,
    ) -> std::io::Result<Box<dyn rpc::transport::Transport>> {
        let has_panicked = self.1.swap(true, std::sync::atomic::Ordering::SeqCst);
        assert!(has_panicked, "the first time");
        self.0.connect(remote, options)
    }
}

#[test]
fn a_connector_that_panics_is_asked_again() {
    for kind in ["single", "pooled", "short"] {
        let network = Panicking::default();
        let server = Server::builder().add(Echo).start_on(network.0.clone()).unwrap();
        let channel = Channel::builder()
            .connection_type(kind)
            .connector(Arc::new(network))
            .timeout(std::time::Duration::from_secs(5))
            .connect("memory")
            .unwrap();
        let first = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(&channel, "hello")));
        assert!(first.is_err(), "{kind}");
        // It is looked for again, as after any failure to connect.
        let answer = std::iter::repeat_with(|| call(&channel, "hello")).find(|answer| {
            answer.as_ref().map_or_else(|error| error.code() != rpc::error::EHOSTDOWN, |_| true)
        });
        assert_eq!(answer.unwrap().unwrap(), "hello", "{kind}");
        drop(server);
    }
}
