//! Streams that are opened, echoed and closed again, for as long as the load lasts.

use std::time::{Duration, Instant};

use bobbin::{CallOptions, Channel, IoBuf, RpcError, StreamOptions, bthread};
use bobbin_examples::example::{EchoRequest, EchoStub};
use bobbin_tests::features::stream_message;

use crate::load::{HANGING, Load, TIMEOUT};

/// Messages of one stream.
const MESSAGES: u64 = 100;

/// What one stream may take.
const STREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// More than half a window, so that some writes wait.
const WINDOW: usize = 50_000;

pub(crate) fn stream_on(load: &Load, address: &str) {
    let channel =
        Channel::builder().connection_type("single").timeout(TIMEOUT).connect(address).expect("an address");
    let stub = EchoStub::new(&channel);
    while !load.has_ended() {
        let start = Instant::now();
        let result = one_stream(&stub);
        assert!(start.elapsed() < STREAM_TIMEOUT + HANGING, "a stream took {:?}", start.elapsed());
        if load.count(result, "stream").is_err() {
            bthread::sleep(Duration::from_millis(1));
        }
    }
}

/// Everything comes back in order, or the stream ends with an error.
fn one_stream(stub: &EchoStub) -> Result<(), RpcError> {
    let options = StreamOptions::default().max_buf_size(WINDOW);
    let (options, stream) = CallOptions::default().open_stream(options)?;
    stub.echo_with(options, &EchoRequest { message: "stream".into(), sleep_us: None })?;
    let deadline = Instant::now() + STREAM_TIMEOUT;
    let (mut reader, writer) = stream.split();
    let size = |n: u64| 8 + (n * 37 % 5000) as usize;
    let writing = bthread::spawn(move || {
        let all = 0..MESSAGES;
        let written = all
            .into_iter()
            .try_for_each(|n| writer.write_until(IoBuf::from(stream_message(n, size(n))), deadline));
        (writer, written)
    });
    let mut read = Ok(());
    for n in 0..MESSAGES {
        match reader.read_until(deadline) {
            Ok(Some(message)) => {
                assert!(message == stream_message(n, size(n))[..], "message {n} of a stream")
            }
            // Nobody but this side closes it, so the connection has gone, or the other end has.
            Ok(None) => {
                read = Err(RpcError::new(bobbin::error::ECONNRESET, "the stream was closed"));
                break;
            }
            Err(error) => {
                read = Err(error);
                break;
            }
        }
    }
    drop(reader);
    let (writer, written) = writing.join().expect("the writer does not panic");
    writer.close();
    read.and(written)
}
