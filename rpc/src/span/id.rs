//! The ids of traces and spans: how they are made, printed and read, and the `traceparent` header that carries them
//! (W3C Trace Context, level 1).
//!
//! Owns no state but the source of new ids. Must never fail on what a peer sent: it is an id, or it is none.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bthread::random::random;

/// Names everything that one request from outside leads to, on all servers; never 0.
///
/// Ids that begin here have an upper half of 0, so that W3C's 128 bits and brpc's 64 name the same trace; ids that come
/// from elsewhere keep all bits. Printed in lower-case hex: 16 digits (as brpc prints them) if the upper half is 0,
/// else 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

/// Names one span of a trace; never 0. Printed as 16 digits of lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

/// An id or a `traceparent` that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoId;

impl fmt::Display for NoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not the id of a trace or span")
    }
}

impl std::error::Error for NoId {}

impl TraceId {
    /// An id that nobody has used.
    pub fn new() -> Self {
        TraceId(u128::from(next_id()))
    }

    /// `None` for 0.
    pub fn from_u128(id: u128) -> Option<Self> {
        (id != 0).then_some(TraceId(id))
    }

    /// All bits.
    pub fn to_u128(self) -> u128 {
        self.0
    }

    /// The lower half, which is all that brpc's protocols carry. 0 for some ids from elsewhere.
    pub fn low(self) -> u64 {
        self.0 as u64
    }

    /// Whether both may be the same trace, if one of them may have lost its upper half on the way.
    pub fn matches(self, other: TraceId) -> bool {
        let high = |id: TraceId| (id.0 >> 64) as u64;
        self.low() == other.low() && (high(self) == high(other) || high(self) == 0 || high(other) == 0)
    }
}

impl Default for TraceId {
    fn default() -> Self {
        Self::new()
    }
}

impl SpanId {
    /// An id that nobody has used.
    pub fn new() -> Self {
        SpanId(next_id())
    }

    /// `None` for 0.
    pub fn from_u64(id: u64) -> Option<Self> {
        (id != 0).then_some(SpanId(id))
    }

    /// All bits.
    pub fn to_u64(self) -> u64 {
        self.0
    }
}

impl Default for SpanId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >> 64 == 0 { write!(f, "{:016x}", self.0) } else { write!(f, "{:032x}", self.0) }
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceId({self})")
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpanId({self})")
    }
}

/// Hex of up to 32 digits, of either case, with or without `0x`.
impl FromStr for TraceId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        hex(text, 32).and_then(TraceId::from_u128).ok_or(NoId)
    }
}

/// Hex of up to 16 digits, of either case, with or without `0x`.
impl FromStr for SpanId {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        hex(text, 16).and_then(|id| SpanId::from_u64(id as u64)).ok_or(NoId)
    }
}

fn hex(text: &str, digits_max: usize) -> Option<u128> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let fits = !digits.is_empty() && digits.len() <= digits_max;
    // Without this look `from_str_radix` would take a sign.
    (fits && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(digits, 16).ok())
        .flatten()
}

/// What goes from a caller to a server, so that the server's spans become children of the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that the call is made from; none if only the trace is known (brpc's peers may send that).
    pub span_id: Option<SpanId>,
    /// The parent of that span, which brpc's protocols carry too.
    pub parent_id: Option<SpanId>,
    /// Whether the caller records the trace. A server that is told so records its part.
    pub is_sampled: bool,
}

/// Length of a `traceparent` of version 0.
const TRACEPARENT_LEN: usize = 55;

impl TraceContext {
    /// From the three numbers of baidu_std and hulu_pbrpc, and of HTTP's `x-bd-*` headers; there is a trace if the first
    /// is not 0, and its presence means that it is sampled.
    pub fn from_brpc(trace_id: u64, span_id: u64, parent_id: u64) -> Option<Self> {
        Some(TraceContext {
            trace_id: TraceId::from_u128(trace_id.into())?,
            span_id: SpanId::from_u64(span_id),
            parent_id: SpanId::from_u64(parent_id),
            is_sampled: true,
        })
    }

    /// Reads the value of a `traceparent` header. Of versions above 0 what this one has is read, as W3C asks.
    ///
    /// # Errors
    /// What does not follow the format: the trace begins anew then.
    ///
    /// ```
    /// let context = rpc::span::TraceContext::from_traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    /// let context = context.unwrap();
    /// assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
    /// assert!(context.is_sampled);
    /// ```
    pub fn from_traceparent(value: &str) -> Result<Self, NoId> {
        let value = value.trim_ascii();
        let well_formed = value.len() >= TRACEPARENT_LEN
            && value.bytes().take(TRACEPARENT_LEN).enumerate().all(|(index, byte)| match index {
                2 | 35 | 52 => byte == b'-',
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            });
        if !well_formed {
            return Err(NoId);
        }
        // All ASCII so far, so it can be cut anywhere.
        let version = &value[..2];
        let rest = &value[TRACEPARENT_LEN..];
        if version == "ff"
            || (version == "00" && !rest.is_empty())
            || !(rest.is_empty() || rest.starts_with('-'))
        {
            return Err(NoId);
        }
        let flags = u8::from_str_radix(&value[53..TRACEPARENT_LEN], 16).map_err(|_| NoId)?;
        Ok(TraceContext {
            trace_id: value[3..35].parse()?,
            span_id: Some(value[36..52].parse()?),
            parent_id: None,
            is_sampled: flags & 1 != 0,
        })
    }

    /// The value of a `traceparent` header; none without a span.
    pub fn to_traceparent(&self) -> Option<String> {
        let span_id = self.span_id?;
        Some(format!("00-{:032x}-{span_id}-{:02x}", self.trace_id.to_u128(), u8::from(self.is_sampled)))
    }
}

/// Different for each call in this process, and as good as random to all others. No secret: see [`random`].
fn next_id() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let seed = *SEED.get_or_init(random);
    loop {
        // Relaxed: only has to differ.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = mixed(seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        if id != 0 {
            return id;
        }
    }
}

/// The finaliser of SplitMix64: no two numbers give the same.
pub(super) fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ids_are_printed_as_brpc_prints_them_and_read_in_any_form() {
        let id: TraceId = "12af0ab627930050".parse().unwrap();
        assert_eq!(id.to_string(), "12af0ab627930050");
        assert_eq!("0x12AF0AB627930050".parse(), Ok(id));
        assert_eq!("1".parse::<TraceId>().unwrap().to_string(), "0000000000000001");
        for text in ["", "0x", "0", "+1", "-1", "g", " 1", &"1".repeat(33)] {
            assert_eq!(text.parse::<TraceId>(), Err(NoId), "{text}");
        }
        assert_eq!("10000000000000000".parse::<SpanId>(), Err(NoId));
    }

    #[test]
    fn an_id_that_lost_its_upper_half_still_matches() {
        let [whole, half, other] = [0x1_0000_0000_0000_0007, 7, 0x2_0000_0000_0000_0007]
            .map(|id: u128| TraceId::from_u128(id).unwrap());
        assert!(whole.matches(half) && half.matches(whole) && half.matches(other));
        assert!(!whole.matches(other) && !half.matches(TraceId::from_u128(8).unwrap()));
    }

    #[test]
    fn new_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| SpanId::new()).collect();
        assert_eq!(ids.len(), 10_000);
        assert_eq!(TraceId::new().to_u128() >> 64, 0);
    }

    #[test]
    fn traceparents_that_break_the_format_are_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        assert!(!TraceContext::from_traceparent(good).unwrap().is_sampled);
        let bad = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333é-01",
        ];
        for value in bad {
            assert_eq!(TraceContext::from_traceparent(value), Err(NoId), "{value}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more";
        assert!(TraceContext::from_traceparent(later).unwrap().is_sampled);
    }

    #[test]
    fn a_trace_of_brpc_is_one_if_it_has_an_id() {
        assert_eq!(TraceContext::from_brpc(0, 1, 2), None);
        let context = TraceContext::from_brpc(5, 0, 2).unwrap();
        assert!(context.is_sampled && context.span_id.is_none() && context.to_traceparent().is_none());
    }

    proptest! {
        #[test]
        fn contexts_survive_the_header(trace in 1u128.., span in 1u64.., sampled: bool) {
            let context = TraceContext {
                trace_id: TraceId::from_u128(trace).unwrap(),
                span_id: SpanId::from_u64(span),
                parent_id: None,
                is_sampled: sampled,
            };
            prop_assert_eq!(TraceContext::from_traceparent(&context.to_traceparent().unwrap()), Ok(context));
            prop_assert_eq!(context.trace_id.to_string().parse(), Ok(context.trace_id));
        }

        #[test]
        fn no_header_makes_it_panic(value in "\\PC{0,80}|[0-9a-f-]{50,60}") {
            let _ = TraceContext::from_traceparent(&value);
            let _ = value.parse::<TraceId>();
        }
    }
}
