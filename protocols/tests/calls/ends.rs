//! What is told of a call when it has ended, and to whom.

use std::sync::mpsc;

use iobuf::IoBuf;
use rpc::error::{ECONNREFUSED, EINTERNAL};
use rpc::{CallOptions, Endpoint};

use crate::support::{Channel, EchoResponse, LONG, call, call_with, connect, echo_method, request, start};

#[test]
fn a_reply_says_where_it_came_by_and_how() {
    let server = start();
    for kind in ["single", "pooled", "short"] {
        let channel =
            Channel::builder().connection_type(kind).timeout(LONG).connect(server.local_addr()).unwrap();
        let reply = call_with(&channel, CallOptions::default(), &request("x")).unwrap();
        assert_eq!(reply.remote_side, *server.local_addr());
        let Endpoint::Tcp(local) = reply.local_side else { panic!("{}", reply.local_side) };
        assert!(local.ip().is_loopback() && local.port() != 0);
        assert_ne!(Endpoint::Tcp(local), reply.remote_side);
        assert_eq!((reply.retried_count, reply.has_backup_request), (0, false));
        assert!(!reply.latency.is_zero());
    }
}

#[test]
fn a_future_may_give_the_whole_reply() {
    let server = start();
    let channel = connect(&server);
    let options = CallOptions::default().request_attachment(IoBuf::from("attached")).user_field("k", "v");
    let reply = channel.start::<_, EchoResponse>(echo_method(), options, &request("x")).into_reply();
    let reply = bthread::block_on(reply).unwrap();
    assert_eq!((reply.message.message.as_str(), &reply.attachment), ("x", &IoBuf::from("attached")));
    assert_eq!(reply.user_fields.get("re-k"), Some("v"));
    let failed = channel.start::<_, EchoResponse>(echo_method(), CallOptions::default(), &request("fail"));
    assert_eq!(bthread::block_on(failed.into_reply()).unwrap_err().code(), 1234);
}

#[test]
fn an_error_knows_its_call() {
    let server = start();
    let error = call(&connect(&server), "panic").unwrap_err();
    assert_eq!(error.code(), EINTERNAL);
    let report = error.call().unwrap();
    assert_eq!((report.retried_count, report.has_backup_request), (0, false));
    assert_eq!(report.remote_side, *server.local_addr());
    assert!(!report.latency.is_zero());
    assert!(error.clone().call().is_some() && rpc::RpcError::internal("x").call().is_none());
}

#[test]
fn errors_of_connecting_are_told_in_a_bthread_of_their_own_and_not_in_the_caller() {
    // On an address of its own, whose ports no other test is given.
    let nobody = std::net::TcpListener::bind("127.0.77.1:0").unwrap().local_addr().unwrap();
    let channel = Channel::builder().timeout(LONG).max_retry(0).connect(nobody).unwrap();
    let (done, is_done) = mpsc::channel();
    let handle = bthread::spawn(move || {
        let caller = bthread::current_id();
        channel.call_then::<_, EchoResponse>(
            echo_method(),
            CallOptions::default(),
            &request("x"),
            move |result| {
                let here = bthread::current_id();
                done.send((result.unwrap_err().code(), here.is_some() && here != caller)).unwrap();
            },
        )
    })
    .join()
    .unwrap();
    handle.join();
    assert_eq!(is_done.try_recv().unwrap(), (ECONNREFUSED, true));
}

#[test]
fn a_call_outlives_its_channel() {
    let server = start();
    for kind in ["single", "pooled", "short"] {
        let build = || Channel::builder().connection_type(kind).timeout(LONG).connect(server.local_addr());
        let (done, is_done) = mpsc::channel();
        for _ in 0..20 {
            let done = done.clone();
            build().unwrap().call_then::<_, EchoResponse>(
                echo_method(),
                CallOptions::default(),
                &request("x"),
                move |result| done.send(result.unwrap().message.message).unwrap(),
            );
            let started = build().unwrap().start::<_, EchoResponse>(
                echo_method(),
                CallOptions::default(),
                &request("y"),
            );
            assert_eq!(started.join().unwrap().message, "y");
        }
        drop(done);
        assert_eq!(is_done.iter().count(), 20);
    }
}

/// Cannot be written.
#[derive(Debug, Default)]
struct Unwritable;

impl prost::Message for Unwritable {
    fn encode_raw(&self, _: &mut impl prost::bytes::BufMut) {
        panic!("in the message")
    }

    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl prost::bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        1
    }

    fn clear(&mut self) {}
}

impl rpc::ProtoMessage for Unwritable {
    const FULL_NAME: &'static str = "example.EchoRequest";
    const SCHEMA: Option<&'static rpc::MessageSchema> = None;
}

#[test]
fn a_message_that_panics_leaves_no_connection_behind() {
    use std::io::Read;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for kind in ["pooled", "short"] {
        let address = listener.local_addr().unwrap();
        let channel = Channel::builder().connection_type(kind).timeout(LONG).connect(address).unwrap();
        let call = || channel.call::<_, EchoResponse>(echo_method(), CallOptions::default(), &Unwritable);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).unwrap_err();
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        assert_eq!(peer.read(&mut [0; 100]).unwrap(), 0, "{kind}");
    }
}
