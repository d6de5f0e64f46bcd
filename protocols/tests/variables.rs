//! What a server shows of itself among the variables of the process.

mod support;

use support::{Server, call, connect, start};

fn variable(server: &Server, name: &str) -> Option<String> {
    bvar::describe(&format!("rpc_server_{}_{name}", server.local_addr().port().unwrap()))
}

#[test]
fn a_server_and_its_methods_are_shown_until_it_is_dropped() {
    let server = start();
    let channel = connect(&server);
    call(&channel, "hello").unwrap();
    call(&channel, "fail").unwrap_err();
    let method = |name: &str| variable(&server, &format!("example_echo_service_echo_{name}"));
    let shown = |name: &str| method(name).unwrap_or_else(|| panic!("{name}"));
    assert_eq!((shown("count"), shown("error"), shown("concurrency")), ("1".into(), "1".into(), "0".into()));
    let names = [
        "eps",
        "latency",
        "latency_80",
        "latency_90",
        "latency_99",
        "latency_999",
        "latency_9999",
        "latency_percentiles",
        "latency_cdf",
        "max_latency",
        "qps",
    ];
    names.into_iter().for_each(|name| drop(shown(name)));
    assert_eq!(method("max_concurrency"), None, "there is no limiter");
    for (name, value) in
        [("connection_count", "1"), ("service_count", "1"), ("error", "0"), ("concurrency", "0")]
    {
        assert_eq!(variable(&server, name).as_deref(), Some(value), "{name}");
    }
    for name in ["eps", "builtin_service_count", "uptime", "start_time"] {
        assert!(variable(&server, name).is_some(), "{name}");
    }
    for name in ["bthread_worker_count", "rpcz_sampling_ratio"] {
        assert!(bvar::describe(name).is_some(), "{name}");
    }
    assert!(bvar::flag::find("enable_rpcz").is_some_and(|flag| flag.is_reloadable()));
    let port = server.local_addr().port().unwrap();
    drop(server);
    let left: Vec<_> =
        bvar::names().into_iter().filter(|name| name.starts_with(&format!("rpc_server_{port}_"))).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Two servers of one name: the first is seen, both run.
#[test]
fn a_name_that_is_taken_stops_nobody() {
    let named =
        || Server::builder().server_info_name("twins").add(support::Echo).start("127.0.0.1:0").unwrap();
    let (first, second) = (named(), named());
    for server in [&second, &first] {
        assert_eq!(call(&connect(server), "hello").unwrap(), "hello");
    }
    let count = || bvar::describe("rpc_server_twins_example_echo_service_echo_count");
    assert_eq!(count().as_deref(), Some("1"));
    drop(first);
    assert_eq!(count(), None);
    assert_eq!(call(&connect(&second), "hello").unwrap(), "hello");
}
