//! gzip as a content coding: who accepts it, and what errors say of it. The compression itself is
//! [`rpc::compress`]'s, and so are the bounds on what a few bytes may grow to.

use iobuf::IoBuf;
use rpc::compress;
use rpc::error::{EREQUEST, RpcError};
use rpc::message::CompressType;

use super::codec::elements;

pub use rpc::compress::{GROWN_FREE as INFLATED_FREE, GROWTH_MAX as INFLATE_RATIO_MAX};

/// Bodies smaller than this are not compressed (brpc: `http_body_compress_threshold`).
pub const COMPRESS_THRESHOLD: usize = 512;

/// Undoes gzip. At most `max` bytes come of it.
pub(super) fn inflate(body: &IoBuf, max: usize) -> Result<IoBuf, RpcError> {
    compress::decompress(CompressType::GZIP, body, max)
        .map_err(|error| RpcError::new(EREQUEST, format!("Fail to decompress http body: {error}")))
}

/// Compresses.
pub(super) fn deflate(body: &IoBuf) -> IoBuf {
    // What cannot be compressed is no reason to lose a response.
    compress::compress(CompressType::GZIP, body).unwrap_or_else(|_| body.clone())
}

/// Whether a content coding is gzip, by either of its names (RFC 9110 §8.4.1.3).
pub(super) fn is_named(coding: &[u8]) -> bool {
    coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip")
}

/// Whether an `Accept-Encoding` lets a body be gzip.
pub(super) fn is_accepted(accept_encoding: &[u8]) -> bool {
    let mut any = None;
    for element in elements(accept_encoding) {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let coding = parts.next().unwrap_or_default();
        let is_wanted = parts.all(|parameter| !is_zero_quality(parameter));
        if is_named(coding) {
            return is_wanted;
        }
        if coding == b"*" {
            any = Some(is_wanted);
        }
    }
    any.unwrap_or(false)
}

/// Whether this is `q=0`, however many zeros it is written with.
fn is_zero_quality(parameter: &[u8]) -> bool {
    match parameter {
        [b'q' | b'Q', b'=', quality @ ..] => {
            !quality.is_empty() && quality.iter().all(|byte| matches!(byte, b'0' | b'.'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_comes_back() {
        let body = IoBuf::from("the quick brown fox ".repeat(1000));
        let small = deflate(&body);
        assert!(small.len() < body.len() / 10);
        assert_eq!(inflate(&small, body.len()).unwrap(), body);
        assert_eq!(inflate(&small, body.len() - 1).unwrap_err().code(), EREQUEST);
        assert_eq!(inflate(&deflate(&IoBuf::new()), 0).unwrap(), "");
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        let bomb = deflate(&IoBuf::from(vec![0; 4 << 20]));
        assert!(bomb.len() < 10_000);
        assert!(inflate(&bomb, usize::MAX).unwrap_err().text().contains("too large"));
        for bad in [&b""[..], b"x", b"\x1f\x8b", &deflate(&"abc".into()).to_vec()[..20]] {
            assert!(inflate(&bad.into(), 1000).is_err(), "{bad:?}");
        }
        let mut longer = deflate(&"abc".into());
        longer.append(b"x");
        assert!(inflate(&longer, 1000).unwrap_err().text().contains("follow"));
    }

    #[test]
    fn acceptance_is_read_with_its_qualities() {
        for accepted in ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "x-gzip", "br, *;q=0.1", "gzip; q=1"] {
            assert!(is_accepted(accepted.as_bytes()), "{accepted}");
        }
        for refused in ["", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *", "identity"] {
            assert!(!is_accepted(refused.as_bytes()), "{refused}");
        }
    }
}
