//! The bodies of the fuzz targets: functions that panic when a promise is broken, whatever bytes they get. The targets
//! themselves are thin and live outside of the workspace; ordinary tests run the bodies as well.
#![cfg(any(test, feature = "fuzzing"))]

use iobuf::IoBuf;
use rpc::Limits;
use rpc::builtin::{QUERY_BYTES_MAX, QUERY_PAIRS_MAX, Query};
use rpc::protocol::{Parsed, Protocol, Role, WireError};

use crate::baidu_std::BAIDU_STD;
pub use crate::baidu_std::codec::check_meta as baidu_std_meta;
use crate::http::codec::replay::{self, Replayed, Taken};
use crate::streaming_rpc::STREAMING_RPC;
pub use crate::streaming_rpc::codec::check_meta as streaming_rpc_meta;

/// The largest body, so that short inputs reach the limit.
const MAX_BODY_SIZE: usize = 1 << 16;

/// Cuts requests off the bytes, given all at once, and given in pieces of a size that the first byte chooses, with
/// bodies whole and as they arrive: the requests and the end have to be the same.
pub fn http_request(data: &[u8]) {
    http_replayed(data, replay::requests);
}

/// As [`http_request`], with responses.
pub fn http_response(data: &[u8]) {
    http_replayed(data, replay::responses);
}

fn http_replayed(data: &[u8], read: fn(usize, Vec<&[u8]>, Taken) -> Replayed) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    for taken in [Taken::Whole, Taken::AsTheyArrive] {
        let whole = read(MAX_BODY_SIZE, vec![data], taken);
        let pieces = read(MAX_BODY_SIZE, data.chunks(usize::from(*step) + 1).collect(), taken);
        assert_eq!(whole.messages, pieces.messages);
        assert_eq!(whole.end, pieces.end);
        let bytes: usize = whole.messages.iter().map(|(_, body)| body.len()).sum();
        assert!(bytes <= data.len());
        // An answer of the codec's own is one, and complete.
        assert!(whole.output.is_empty() || whole.output.ends_with(b"\r\n\r\n"));
    }
}

/// Reads the bytes as a query string, and as the fields with lists in them that a request has.
pub fn http_query(data: &[u8]) {
    let query = Query::parse(data);
    let pairs: usize = query.pairs().map(|(name, value)| name.len() + value.len()).sum();
    // A byte that is no UTF-8 becomes three.
    assert!(pairs <= 3 * data.len().min(QUERY_BYTES_MAX));
    assert!(query.pairs().count() <= QUERY_PAIRS_MAX);
    crate::http::check_fields(data);
}

/// Cuts frames off the bytes, given all at once, and given in pieces of a size that the first byte chooses: the
/// frames and the end have to be the same.
pub fn baidu_std_codec(data: &[u8]) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    let whole = cut_all(&BAIDU_STD, data, data.len());
    let pieces = cut_all(&BAIDU_STD, data, usize::from(*step) + 1);
    assert_eq!(whole, pieces);
    let bytes: usize = whole.0.iter().map(|frame| frame.len()).sum();
    assert!(bytes <= data.len());
}

/// As [`baidu_std_codec`], with the frames of streams. What is read of their descriptions is compared with what prost reads
/// of them, and written again.
pub fn streaming_rpc(data: &[u8]) {
    let Some((step, data)) = data.split_first() else {
        return;
    };
    let whole = cut_all(&STREAMING_RPC, data, data.len());
    let pieces = cut_all(&STREAMING_RPC, data, usize::from(*step) + 1);
    assert_eq!(whole, pieces);
    whole.0.iter().for_each(|frame| streaming_rpc_meta(frame));
    streaming_rpc_meta(data);
}

/// The frames and how it ended, if it did before the bytes did.
type Frames = (Vec<Vec<u8>>, Option<String>);

fn cut_all(protocol: &dyn Protocol, data: &[u8], step: usize) -> Frames {
    let mut limits = Limits::default();
    limits.max_body_size = MAX_BODY_SIZE;
    let mut codec = protocol.codec(Role::Server, &limits);
    let (mut input, mut frames) = (IoBuf::new(), Vec::new());
    for piece in data.chunks(step.max(1)) {
        input.append(piece);
        while !input.is_empty() {
            match codec.parse(&mut input) {
                Ok(Parsed::Message(frame)) => {
                    assert!(frame.meta_size as usize <= frame.bytes.len());
                    assert!(frame.bytes.len() <= MAX_BODY_SIZE);
                    frames.push(frame.bytes.to_vec());
                }
                Ok(Parsed::Head(_) | Parsed::Part(_) | Parsed::End) => {
                    unreachable!("this codec streams nothing")
                }
                Ok(Parsed::NeedMore) => break,
                Ok(Parsed::NotMine) => return (frames, Some(WireError::Unknown.to_string())),
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    assert!(input.len() < MAX_BODY_SIZE + 12, "no more is kept than one frame that is not whole");
    (frames, None)
}
