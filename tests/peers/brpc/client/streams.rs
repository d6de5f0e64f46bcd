//! Streams that work: messages in both directions, windows, segments.

use std::time::Duration;

use bobbin::{CallOptions, IoBuf, StreamOptions, error};
use bobbin_tests::Doing;
use bobbin_tests::features::{FeatureRequest, FeatureStub, StreamPlan};

use crate::ask::{Peer, call_with, hello};
use crate::open::{Opening, opening};
use crate::{Failure, features, want};

features![
    stream_to_server,
    stream_to_client,
    stream_both_ways,
    stream_several,
    stream_several_to_client,
    stream_flow_control,
    stream_flow_control_of_server,
    stream_without_window,
    stream_segments_to_server,
    stream_segments_to_client,
    stream_write_before_done,
    stream_write_before_connected,
    stream_empty_to_server,
    stream_empty_to_client,
    stream_10000_in_order_to_server,
    stream_10000_in_order_to_client,
    stream_large_messages,
    stream_beside_calls,
];

/// The server writes so many messages of this size.
fn writing(write: i32, size: i32) -> StreamPlan {
    StreamPlan { write: Some(write), size: Some(size), ..StreamPlan::default() }
}

fn echoing() -> StreamPlan {
    StreamPlan { echo: Some(true), ..StreamPlan::default() }
}

fn stream_to_server(peer: &Peer) -> Result<(), Failure> {
    let open = Opening::default().open(peer)?;
    open.write(0, 0..100, 1000)?;
    open.arrived(0, 100)
}

fn stream_to_client(peer: &Peer) -> Result<(), Failure> {
    opening(writing(100, 1000)).open(peer)?.received(0, 100)
}

fn stream_both_ways(peer: &Peer) -> Result<(), Failure> {
    let open = opening(echoing()).open(peer)?;
    open.write(0, 0..1000, 1000)?;
    open.received(0, 1000)?;
    open.arrived(0, 1000)
}

fn stream_several(peer: &Peer) -> Result<(), Failure> {
    let open = Opening { count: 4, ..Opening::default() }.open(peer)?;
    for n in 0..100 {
        for i in 0..4 {
            open.write(i, n..n + 1, 100 + 10 * i)?;
        }
    }
    for i in 0..4 {
        open.arrived(i, 100)?;
    }
    open.stream(2).close();
    open.at_server(2, |report| report.closed() == 1)?;
    // The others go on.
    open.write(1, 100..110, 100)?;
    open.arrived(1, 110)
}

fn stream_several_to_client(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { write_before_done: Some(20), ..writing(80, 100) };
    let open = Opening { count: 3, ..opening(plan) }.open(peer)?;
    (0..3).try_for_each(|i| open.received(i, 100))
}

fn stream_flow_control(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { read_delay_us: Some(2000), ..StreamPlan::default() };
    let options = StreamOptions::default().max_buf_size(10_000);
    let open = Opening { options, ..opening(plan) }.open(peer)?;
    open.write(0, 0..200, 1000)?;
    // No more than the window and one message may be on their way, and a message be in the handler's hands.
    open.at_server(0, |report| report.messages() >= 200 - 12)?;
    want!(open.report(0).full() > 0, "{:?}", open.report(0));
    open.arrived(0, 200)
}

fn stream_flow_control_of_server(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { max_buf_size: Some(10_000), ..writing(200, 1000) };
    let doing = Doing { read_delay: Duration::from_millis(2), ..Doing::default() };
    let open = Opening { doing, ..opening(plan) }.open(peer)?;
    open.received(0, 200)?;
    open.at_server(0, |report| report.full() > 0 && report.written() == 200)
}

fn stream_without_window(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { max_buf_size: Some(-1), ..echoing() };
    let options = StreamOptions::default().max_buf_size(0);
    let open = Opening { options, ..opening(plan) }.open(peer)?;
    open.write(0, 0..500, 10_000)?;
    open.received(0, 500)
}

fn stream_segments_to_server(peer: &Peer) -> Result<(), Failure> {
    let options = StreamOptions::default().max_segment_size(1000);
    let open = Opening { options, ..Opening::default() }.open(peer)?;
    open.write(0, 0..20, 100_000)?;
    open.arrived(0, 20)
}

fn stream_segments_to_client(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { segment_size: Some(1000), ..writing(20, 100_000) };
    opening(plan).open(peer)?.received(0, 20)
}

fn stream_write_before_done(peer: &Peer) -> Result<(), Failure> {
    let plan = StreamPlan { write_before_done: Some(100), size: Some(100), ..StreamPlan::default() };
    let request = FeatureRequest { sleep_us: Some(20_000), ..hello() };
    Opening { request, ..opening(plan) }.open(peer)?.received(0, 100)
}

fn stream_write_before_connected(peer: &Peer) -> Result<(), Failure> {
    let (open, called) = Opening::default().call(peer, |open| open.write(0, 0..100, 100))?;
    called.map_err(|error| error.to_string())?;
    open.arrived(0, 100)
}

fn stream_empty_to_server(peer: &Peer) -> Result<(), Failure> {
    let open = Opening::default().open(peer)?;
    open.write(0, 0..10, 0)?;
    open.write(0, 10..11, 100)?;
    open.arrived(0, 11)
}

fn stream_empty_to_client(peer: &Peer) -> Result<(), Failure> {
    let open = opening(writing(10, 0)).open(peer)?;
    open.at_server(0, |report| report.written() == 10 || report.write_error() != 0)?;
    // brpc has an error for it, and has written nothing.
    if open.at_server(0, |report| report.written() == 10).is_err() {
        open.at_server(0, |report| error::EINVAL == report.write_error())?;
        return Err("n/a brpc's StreamWrite refuses empty messages".into());
    }
    open.received(0, 10)
}

fn stream_10000_in_order_to_server(peer: &Peer) -> Result<(), Failure> {
    let open = Opening::default().open(peer)?;
    open.write(0, 0..10_000, 64)?;
    open.arrived(0, 10_000)
}

fn stream_10000_in_order_to_client(peer: &Peer) -> Result<(), Failure> {
    opening(writing(10_000, 64)).open(peer)?.received(0, 10_000)
}

fn stream_large_messages(peer: &Peer) -> Result<(), Failure> {
    let open = opening(echoing()).open(peer)?;
    open.write(0, 0..4, 8 << 20)?;
    open.write(0, 4..5, 60 << 20)?;
    open.received(0, 5)?;
    open.arrived(0, 5)
}

fn stream_beside_calls(peer: &Peer) -> Result<(), Failure> {
    let open = opening(echoing()).open(peer)?;
    let stub = FeatureStub::new(&open.channel);
    for n in 0..100 {
        open.write(0, n..n + 1, 2000)?;
        let options = CallOptions::default().request_attachment(IoBuf::from(vec![b'a'; 2000]));
        call_with(&stub, options, &hello())?;
    }
    open.received(0, 100)
}
