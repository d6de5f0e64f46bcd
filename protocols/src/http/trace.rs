//! The fields that carry traces: W3C's `traceparent` and brpc's own (`spec/protocols-http.md` §19).

use rpc::span::{SpanId, TraceContext};

use super::codec::{HeadWriter, number};

/// Reads `traceparent`; what is none begins no trace.
pub(super) fn read_w3c(value: &[u8]) -> Option<TraceContext> {
    TraceContext::from_traceparent(str::from_utf8(value).ok()?).ok()
}

/// What brpc sends: decimal numbers, only when it records the trace.
pub(super) fn read_brpc(trace_id: Option<&[u8]>, span_id: Option<&[u8]>) -> Option<TraceContext> {
    TraceContext::from_brpc(number(trace_id?)?, span_id.and_then(number).unwrap_or(0), 0)
}

/// Writes both, so that every server finds one that it knows.
pub(super) fn write(context: &TraceContext, head: &mut HeadWriter) {
    let decimal = |id: u64| id.to_string();
    if let Some(traceparent) = context.to_traceparent() {
        head.field("traceparent", traceparent.as_bytes());
    }
    if context.is_sampled {
        head.field("x-bd-trace-id", decimal(context.trace_id.low()).as_bytes());
        for (name, id) in [("x-bd-span-id", context.span_id), ("x-bd-parent-span-id", context.parent_id)] {
            head.field(name, decimal(id.map_or(0, SpanId::to_u64)).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brpcs_ids_are_decimal() {
        let context = read_brpc(Some(b"883271575347658753"), Some(b"7")).unwrap();
        assert_eq!(context.trace_id.low(), 883_271_575_347_658_753);
        assert_eq!(context.span_id.map(SpanId::to_u64), Some(7));
        assert_eq!(read_brpc(Some(b"0"), Some(b"7")), None);
        assert_eq!(read_brpc(Some(b"+1"), None), None);
        assert_eq!(read_brpc(None, Some(b"7")), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let context =
            TraceContext::from_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
                .unwrap();
        let mut head = HeadWriter::new(http::Version::HTTP_11, http::StatusCode::OK);
        write(&context, &mut head);
        let mut out = iobuf::IoBuf::new();
        head.finish(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap().as_bytes().to_vec()
        };
        assert_eq!(read_w3c(&value("traceparent")), Some(context));
        let brpc = read_brpc(Some(&value("x-bd-trace-id")), Some(&value("x-bd-span-id"))).unwrap();
        assert_eq!(brpc.trace_id.low(), context.trace_id.low());
        assert_eq!(brpc.span_id, context.span_id);
        assert_eq!(read_w3c(b"00"), None);
        assert_eq!(read_w3c(b"\xff"), None);
    }
}
