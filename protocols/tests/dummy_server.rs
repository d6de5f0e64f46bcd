//! The server of a process that only calls. One test, as the process has one such server.

use protocols::Bundled;
use protocols::http::Fetch;
use rpc::error::{EADDRINUSE, EINVAL};
use rpc::server::{dummy_server_address, start_dummy_server_at};

#[test]
fn a_process_has_one_at_most_which_shows_pages() {
    assert!(dummy_server_address().is_none());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    assert_eq!(start_dummy_server_at::<Bundled>(port).unwrap_err().code(), EADDRINUSE);
    let address = start_dummy_server_at::<Bundled>(0).unwrap();
    assert_eq!(dummy_server_address(), Some(&address));
    assert_eq!(start_dummy_server_at::<Bundled>(0).unwrap_err().code(), EINVAL);

    let channel = rpc::Channel::<Bundled>::builder().protocol("http").connect(&address).unwrap();
    let page = |path: &str| {
        let path = format!("{path}?console=1"); // as for a terminal
        let response = channel.fetch(http::Request::get(path).body(iobuf::IoBuf::new()).unwrap()).unwrap();
        String::from_utf8(response.into_body().to_vec()).unwrap()
    };
    assert!(page("/version").starts_with("DummyServerOf(dummy_server-"), "{}", page("/version"));
    assert_eq!(page("/vars/rpc_server_count"), "rpc_server_count : 1\r\n");
    assert_eq!(page("/vars/rpc_channel_connection_count"), "rpc_channel_connection_count : 1\r\n");
}
