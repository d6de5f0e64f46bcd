//! The server's ends of streams, and what it writes to them.

use std::sync::Arc;
use std::time::Duration;

use bobbin::rpc::{StreamOptions, StreamWriter};
use bobbin::{RpcError, ServerCall, bthread};
use bobbin_tests::features::StreamPlan;
use bobbin_tests::{Doing, StreamEnd, StreamEnds};

/// How often a writer looks whether it may begin.
const LOOK: Duration = Duration::from_millis(1);

fn options(plan: &StreamPlan, ends: &Arc<StreamEnds>) -> StreamOptions {
    let mut options = if plan.without_handler() {
        StreamOptions::default().write_only()
    } else {
        StreamOptions::default().handler(ends.handler())
    };
    if let Some(window) = plan.max_buf_size {
        options = options.max_buf_size(usize::try_from(window).unwrap_or(0));
    }
    match plan.segment_size {
        Some(size) => options.max_segment_size(size.unsigned_abs() as usize),
        None => options,
    }
}

/// Accepts the streams of a call and does with them as the plan says, telling `keep` of each.
pub(crate) fn accept(
    cntl: &mut ServerCall,
    plan: &StreamPlan,
    keep: impl Fn(Arc<StreamEnd>),
) -> Result<(), RpcError> {
    let ends = StreamEnds::new(Doing {
        echo: plan.echo(),
        read_delay: Duration::from_micros(plan.read_delay_us().unsigned_abs()),
        close_after: plan.close_after_received().into(),
    });
    for stream in cntl.accept_streams(options(plan, &ends))? {
        let end = ends.of(stream.id());
        keep(end.clone());
        let before = u64::from(plan.write_before_done().unsigned_abs());
        let (_, stream) = stream.split();
        end.write(&stream, 0..before, plan.size().unsigned_abs() as usize)?;
        if plan.write() > 0 || plan.close_after_write() || plan.without_handler() {
            let plan = *plan;
            bthread::spawn(move || write(&plan, before, &end, &stream));
        }
    }
    Ok(())
}

fn write(plan: &StreamPlan, first: u64, end: &StreamEnd, stream: &StreamWriter) {
    while end.report().messages() < plan.write_after_received().into() && !stream.is_closed() {
        bthread::sleep(LOOK);
    }
    let numbers = first..first + u64::from(plan.write().unsigned_abs());
    // Whoever asks for the report sees the error.
    let _ = end.write(stream, numbers, plan.size().unsigned_abs() as usize);
    if plan.close_after_write() {
        stream.close();
    }
    // Without a handler it would be closed with its last handle.
    while plan.without_handler() && !stream.is_closed() {
        bthread::sleep(LOOK);
    }
}
