//! Stacks as text. Names and lines are read from files, so that is done on the pool of threads for blocking calls.

use bthread::trace::StackTrace;

/// Text for each of the traces, in their order. Parks the bthread while the text is made.
pub(crate) fn texts(traces: &[StackTrace]) -> Vec<String> {
    bthread::blocking(|| traces.iter().map(ToString::to_string).collect())
}

/// Text for one trace. Parks the bthread while it is made.
pub(crate) fn text(trace: &StackTrace) -> String {
    bthread::blocking(|| trace.to_string())
}
