//! Stacks as text. Names and lines are read from files, so that is done on the pool of threads for blocking calls.

use bthread::trace::StackTrace;

/// Text for each of the traces, in their order. Parks the bthread while the text is made.
pub(crate) fn texts(traces: Vec<StackTrace>) -> Vec<String> {
    bthread::spawn_blocking(move || traces.iter().map(ToString::to_string).collect())
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Text for one trace.
pub(crate) fn text(trace: StackTrace) -> String {
    texts(vec![trace]).pop().unwrap_or_default()
}
