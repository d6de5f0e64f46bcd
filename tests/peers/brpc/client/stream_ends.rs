//! How streams end, and those that never begin.

use std::io::{Read, Write};
use std::net::TcpStream;

use bobbin::rpc::message::Encoding;
use bobbin::{CallOptions, IoBuf, StreamOptions, error};
use bobbin_tests::features::{FeatureRequest, FeatureStub, StreamPlan};

use crate::ask::{PATIENT, Peer, call, fails, hello};
use crate::open::{Opening, opening};
use crate::{Failure, features, want};

features![
    stream_close_by_client,
    stream_close_by_server,
    stream_last_frames_to_server,
    stream_last_frames_to_client,
    stream_no_handler_at_client,
    stream_no_handler_at_server,
    stream_refused,
    stream_of_failed_call,
    stream_accepted_by_failed_call,
    stream_of_unknown_method,
    stream_connection_lost,
    stream_rst_of_unknown,
];

fn stream_close_by_client(peer: &Peer) -> Result<(), Failure> {
    let open = Opening::default().open(peer)?;
    open.write(0, 0..10, 100)?;
    open.stream(0).close();
    open.closed(0)?;
    open.at_server(0, |report| report.closed() == 1 && report.failed_code() == 0)?;
    open.arrived(0, 10)
}

fn stream_close_by_server(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { close_after_received: Some(10), ..StreamPlan::default() };
    let open = opening(plan).open(peer)?;
    open.write(0, 0..10, 100)?;
    open.closed(0)?;
    want!(open.report(0).failed_code() == 0, "{:?}", open.report(0));
    open.at_server(0, |report| report.closed() == 1)?;
    match open.stream(0).write(&b"12345678"[..]) {
        Err(error) => want!(error.code() == error::EINVAL, "{error}"),
        Ok(()) => return Err("a closed stream was written to".into()),
    }
    Ok(())
}

fn stream_last_frames_to_server(peer: &Peer) -> Result<(), Failure> {
    let options = StreamOptions::default().max_buf_size(0);
    let open = Opening { options, ..Opening::default() }.open(peer)?;
    open.write(0, 0..1000, 1000)?;
    open.stream(0).close();
    open.at_server(0, |report| report.closed() == 1)?;
    open.arrived(0, 1000)
}

fn stream_last_frames_to_client(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan {
        max_buf_size: Some(-1),
        write: Some(1000),
        size: Some(1000),
        close_after_write: Some(true),
        ..StreamPlan::default()
    };
    let open = opening(plan).open(peer)?;
    open.closed(0)?;
    open.received(0, 1000)
}

fn stream_no_handler_at_client(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { echo: Some(true), ..StreamPlan::default() };
    let open = Opening { has_handler: false, ..opening(plan) }.open(peer)?;
    open.write(0, 0..1, 100)?;
    // brpc's writer closes the stream over it.
    open.at_server(0, |report| {
        report.messages() == 1 && (error::EBADF == report.write_error() || report.closed() == 1)
    })
}

fn stream_no_handler_at_server(peer: &Peer) -> Result<(), Failure> {
    let plan =
        StreamPlan { without_handler: Some(true), write: Some(10), size: Some(100), ..StreamPlan::default() };
    let open = opening(plan).open(peer)?;
    match open.stream(0).write(&b"12345678"[..]) {
        Err(error) => want!(error.code() == error::EBADF, "{error}"),
        Ok(()) => return Err("a stream without a reader was written to".into()),
    }
    open.received(0, 10)
}

fn stream_refused(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { refuse: Some(true), ..StreamPlan::default() };
    let (open, called) = opening(plan).call(peer, |_| Ok(()))?;
    want!(called.as_ref().is_err_and(|error| error.code() == error::EREQUEST), "{called:?}");
    open.closed(0)?;
    call(&FeatureStub::new(&open.channel), &hello()).map(drop)
}

fn boom() -> FeatureRequest {
    FeatureRequest { fail_code: Some(1234), fail_text: Some("boom".into()), ..hello() }
}

fn stream_of_failed_call(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { refuse: Some(true), ..StreamPlan::default() };
    let (open, called) = Opening { request: boom(), ..opening(plan) }.call(peer, |_| Ok(()))?;
    want!(called.as_ref().is_err_and(|error| error.code() == 1234), "{called:?}");
    open.closed(0)
}

fn stream_accepted_by_failed_call(peer: &Peer) -> Result<(), Failure> {
    let (open, called) =
        Opening { request: boom(), count: 2, ..Opening::default() }.call(peer, |_| Ok(()))?;
    want!(called.as_ref().is_err_and(|error| error.code() == 1234), "{called:?}");
    open.closed(0)?;
    // The server's ends are told, by a reset or by the failure of their own call.
    open.at_server(0, |report| report.closed() == 1 && report.failed_code() != 0)?;
    open.at_server(1, |report| report.closed() == 1 && report.failed_code() != 0)
}

fn stream_of_unknown_method(peer: &Peer) -> Result<(), Failure> {
    let (options, stream) =
        CallOptions::default().open_stream(StreamOptions::default()).map_err(|error| error.to_string())?;
    let channel = peer.channel("plain", "single")?;
    let (service, method) = ("features.FeatureService", "Nothing");
    let called = channel.call_generic(service, method, Encoding::default(), IoBuf::new(), options);
    want!(called.as_ref().is_err_and(|error| error.code() == error::ENOMETHOD), "{called:?}");
    want!(stream.is_closed(), "{stream:?}");
    Ok(())
}

fn stream_connection_lost(peer: &Peer) -> Result<(), Failure> {
    let open = Opening::default().open(peer)?;
    open.write(0, 0..10, 100)?;
    open.arrived(0, 10)?;
    let request = FeatureRequest { close_connection: Some(true), ..hello() };
    fails(&FeatureStub::new(&open.channel), CallOptions::default(), &request)?;
    open.closed(0)?;
    want!(open.report(0).failed_code() != 0, "{:?}", open.report(0));
    open.at_server(0, |report| report.closed() == 1)
}

fn stream_rst_of_unknown(peer: &Peer) -> Result<(), Failure> {
    let text = |error: std::io::Error| error.to_string();
    let mut raw = TcpStream::connect(peer.address("plain")?).map_err(text)?;
    raw.set_read_timeout(Some(PATIENT)).map_err(text)?;
    // FEEDBACK to stream 12345: nothing. DATA to it from 77: RST to 77.
    raw.write_all(b"STRM\0\0\0\x0b\0\0\0\x0b\x08\xb9\x60\x10\x4d\x18\x04\x2a\x02\x08\x05").map_err(text)?;
    raw.write_all(b"STRM\0\0\0\x0e\0\0\0\x09\x08\xb9\x60\x10\x4d\x18\x03\x20\0hello").map_err(text)?;
    let mut answer = [0; 16];
    raw.read_exact(&mut answer).map_err(text)?;
    want!(&answer == b"STRM\0\0\0\x04\0\0\0\x04\x08\x4d\x18\x01", "{answer:?}");
    Ok(())
}
