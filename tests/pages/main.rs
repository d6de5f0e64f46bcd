//! The debug pages over HTTP, as whoever means harm asks for them: from other machines and under other names, in a
//! process that may start no other one, with markup in everything, and with code of the user that fails.

mod elsewhere;
mod faults;
mod markup;
mod processes;

use bobbin::Server;
use bobbin::protocols::Bundled;
use bobbin::rpc::ServerBuilder;
use bobbin_examples::example::EchoServer;
use bobbin_tests::{Gate, HttpPeer, TestEcho};

/// A server with the echo service.
fn builder() -> ServerBuilder<Bundled> {
    bobbin::register_flags();
    Server::builder().add(EchoServer::new(TestEcho { gate: Gate::new() }))
}

/// The paths of all pages, as the server lists them.
fn paths(peer: &mut HttpPeer) -> Vec<String> {
    let index = peer.get("/index?as_more").text();
    let paths: Vec<String> = index
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with('/') && word.len() > 1)
        .map(str::to_owned)
        .collect();
    assert!(paths.len() > 15, "{index}");
    paths
}
