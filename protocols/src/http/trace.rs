//! The fields that carry traces: W3C's `traceparent` and brpc's own (`spec/protocols-http.md` §19).

use rpc::protocol::TraceContext;

/// Reads `traceparent` (W3C Trace Context §3.2): `00-<32 hex>-<16 hex>-<2 hex>`; later versions may go on behind a `-`.
pub(super) fn read_w3c(value: &[u8]) -> Option<TraceContext> {
    let text = str::from_utf8(value).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version.len() != 2 || trace.len() != 32 || span.len() != 16 || flags.len() != 2 {
        return None;
    }
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if ![version, trace, span, flags].into_iter().all(is_hex) || version == "ff" {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    let flags = u8::from_str_radix(flags, 16).ok()?;
    Some(TraceContext { trace_id, span_id, is_sampled: flags & 1 != 0 })
}

/// What brpc sends: decimal numbers, only when it records the trace.
pub(super) fn read_brpc(trace_id: Option<&[u8]>, span_id: Option<&[u8]>) -> Option<TraceContext> {
    let trace_id = number(trace_id?).filter(|id| *id != 0)?;
    let span_id = span_id.and_then(number).unwrap_or(0);
    Some(TraceContext { trace_id: trace_id.into(), span_id, is_sampled: true })
}

/// A decimal number that fits.
pub(super) fn number(value: &[u8]) -> Option<u64> {
    str::from_utf8(value).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_read_or_ignored() {
        let read = |text: &str| read_w3c(text.as_bytes());
        let id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = TraceContext { trace_id: id, span_id: 0x00f0_67aa_0ba9_02b7, is_sampled: true };
        assert_eq!(read(good), Some(context));
        assert_eq!(read(&good.replace("-01", "-00")).map(|context| context.is_sampled), Some(false));
        assert!(read(&good.replacen("00", "01", 1)).is_some());
        assert!(read(&format!("{}-more", good.replacen("00", "01", 1))).is_some());
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &good.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &good.replace("4bf9", "+bf9"),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn brpcs_ids_are_decimal() {
        let context = read_brpc(Some(b"883271575347658753"), Some(b"7")).unwrap();
        assert_eq!((context.trace_id, context.span_id), (883_271_575_347_658_753, 7));
        assert_eq!(read_brpc(Some(b"0"), Some(b"7")), None);
        assert_eq!(read_brpc(Some(b"+1"), None), None);
        assert_eq!(read_brpc(None, Some(b"7")), None);
    }
}
