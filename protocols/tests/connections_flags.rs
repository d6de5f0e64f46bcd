//! What flags say of connections, and what variables tell of them. One test at a time, as both belong to the process.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rpc::CallOptions;
use support::{Channel, Echo, EchoResponse, LONG, Server, call, echo_method, eventually, request, start};

fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    rpc::register_flags();
    guard
}

/// Sets a flag until it is dropped.
struct Flag(&'static str, String);

impl Flag {
    fn set(name: &'static str, value: &str) -> Self {
        let before = bvar::flag::find(name).unwrap().value_text();
        bvar::flag::set(name, value).unwrap();
        Flag(name, before)
    }
}

impl Drop for Flag {
    fn drop(&mut self) {
        bvar::flag::set(self.0, &self.1).unwrap();
    }
}

fn number(name: &str) -> usize {
    bvar::describe(name).unwrap().parse().unwrap()
}

fn channel(kind: &str, address: &rpc::Endpoint) -> Channel {
    Channel::builder()
        .protocol("baidu_std")
        .connection_type(kind)
        .timeout(LONG)
        .max_retry(0)
        .connect(address)
        .unwrap()
}

/// Calls so often at a time.
fn call_at_once(channel: &Channel, times: usize) {
    let calls: Vec<rpc::Call<EchoResponse>> = (0..times)
        .map(|_| {
            let slow = support::EchoRequest { sleep_us: Some(50_000), ..request("x") };
            channel.start(echo_method(), CallOptions::default(), &slow)
        })
        .collect();
    calls.into_iter().for_each(|call| drop(call.join().unwrap()));
}

#[test]
fn a_pool_keeps_no_more_than_it_may() {
    let _alone = alone();
    let _flag = Flag::set("max_connection_pool_size", "2");
    let server = start();
    let channel = channel("pooled", server.local_addr());
    call_at_once(&channel, 5);
    eventually(|| server.connection_count() == 2);
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
    assert_eq!(server.connection_count(), 2);
}

#[test]
fn unused_connections_are_closed_but_for_a_reserved_one() {
    let _alone = alone();
    let _flags = [Flag::set("idle_timeout_second", "1"), Flag::set("reserve_one_idle_socket", "true")];
    let server = start();
    let channel = channel("pooled", server.local_addr());
    call_at_once(&channel, 3);
    let unused_since = Instant::now();
    eventually(|| server.connection_count() == 1);
    assert!(unused_since.elapsed() >= Duration::from_millis(900), "those calls ended a little earlier");
    bvar::flag::set("reserve_one_idle_socket", "false").unwrap();
    eventually(|| server.connection_count() == 0);
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
}

#[test]
fn the_end_of_an_unused_connection_is_seen_at_once() {
    let _alone = alone();
    eventually(|| number("rpc_channel_connection_count") == 0);
    for protocol in ["baidu_std", "http:proto"] {
        let server = start();
        let address = server.local_addr().clone();
        let channel = Channel::builder()
            .protocol(protocol)
            .connection_type("pooled")
            .timeout(LONG)
            .max_retry(0)
            .connect(&address)
            .unwrap();
        assert_eq!(call(&channel, "hello").unwrap(), "hello");
        assert_eq!(number("rpc_channel_connection_count"), 1);
        drop(server);
        eventually(|| number("rpc_channel_connection_count") == 0);
        let _server = Server::builder().add(Echo).start(&address).unwrap();
        assert_eq!(call(&channel, "hello").unwrap(), "hello", "a new connection, with the first attempt");
    }
}

#[test]
fn a_lost_connection_is_made_again_by_the_next_call() {
    let _alone = alone();
    let server = start();
    let address = server.local_addr().clone();
    let channel = channel("single", &address);
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
    drop(server);
    eventually(|| number("rpc_channel_connection_count") == 0);
    let _server = Server::builder().add(Echo).start(&address).unwrap();
    assert_eq!(call(&channel, "hello").unwrap(), "hello");
}

#[test]
fn a_server_that_was_away_is_found_without_a_call() {
    let _alone = alone();
    for (kind, connections) in [("single", 1), ("pooled", 1), ("short", 0)] {
        let server = start();
        let address = server.local_addr().clone();
        drop(server);
        let channel = channel(kind, &address);
        call(&channel, "x").unwrap_err();
        eventually(|| number("rpc_health_check_count") == 1);
        let server = Server::builder().add(Echo).start(&address).unwrap();
        eventually(|| number("rpc_health_check_count") == 0);
        eventually(|| server.connection_count() == connections);
        assert_eq!(call(&channel, "hello").unwrap(), "hello");
    }
}

#[test]
fn nobody_looks_for_a_server_that_no_channel_leads_to() {
    let _alone = alone();
    let server = start();
    let address = server.local_addr().clone();
    drop(server);
    let channel = channel("single", &address);
    call(&channel, "x").unwrap_err();
    eventually(|| number("rpc_health_check_count") == 1);
    drop(channel);
    assert_eq!(number("rpc_health_check_count"), 0);
}

#[test]
fn without_an_interval_only_calls_look_for_a_server() {
    let _alone = alone();
    let _flag = Flag::set("health_check_interval", "0");
    let server = start();
    let address = server.local_addr().clone();
    drop(server);
    let channel = channel("single", &address);
    call(&channel, "x").unwrap_err();
    let _server = Server::builder().add(Echo).start(&address).unwrap();
    eventually(|| number("rpc_health_check_count") == 1);
    eventually(|| call(&channel, "hello").is_ok());
    assert_eq!(number("rpc_health_check_count"), 0);
}

#[test]
fn connections_are_kept_for_the_next_channel() {
    let _alone = alone();
    let _flag = Flag::set("defer_close_second", "1");
    for kind in ["single", "pooled"] {
        let server = start();
        let first = channel(kind, server.local_addr());
        assert_eq!(call(&first, "hello").unwrap(), "hello");
        drop(first);
        let second = channel(kind, server.local_addr());
        assert_eq!(call(&second, "hello").unwrap(), "hello");
        let dropped = Instant::now();
        drop(second);
        assert_eq!(server.connection_count(), 1, "{kind}: the same one, and it is kept");
        eventually(|| server.connection_count() == 0);
        assert!(dropped.elapsed() >= Duration::from_secs(1));
    }
}

#[test]
fn a_connection_that_was_silent_long_enough_is_not_kept() {
    let _alone = alone();
    let server = start();
    let first = channel("single", server.local_addr());
    assert_eq!(call(&first, "hello").unwrap(), "hello");
    let begun = Instant::now();
    let _flags = [Flag::set("defer_close_second", "1"), Flag::set("defer_close_respect_idle", "true")];
    while begun.elapsed() < Duration::from_millis(1100) {
        std::thread::yield_now(); // what passes is the time that the flag speaks of
    }
    drop(first);
    // Had it been kept, the flag would keep it for a second from now.
    eventually(|| server.connection_count() == 0);
}
