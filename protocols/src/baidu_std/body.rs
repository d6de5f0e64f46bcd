//! From a message to the body of a frame and back: serialised, compressed and summed up as its [`Encoding`] says
//! (§0.10, §2.8, §2.9). Knows no frame.

use iobuf::IoBuf;
use rpc::compress::{self, CompressError};
use rpc::json::{JsonError, JsonOptions, content_to_proto, proto_to_content};
use rpc::message::{Body, CHECKSUM_SIZE, ChecksumType, Encoding, crc32c};
use rpc::schema::Schema;

use super::codec::Numbers;

/// Why there is no body, or no message in it. What callers are told is brpc's one text for all of it.
#[derive(Debug)]
pub(super) struct Unfit;

impl From<CompressError> for Unfit {
    fn from(_: CompressError) -> Self {
        Unfit
    }
}

impl From<JsonError> for Unfit {
    fn from(_: JsonError) -> Self {
        Unfit
    }
}

/// What a checksum is made of or compared with.
#[derive(Clone, Copy)]
pub(super) struct Summed<'a> {
    pub(super) attachment: &'a IoBuf,
    /// As it came.
    pub(super) value: &'a [u8],
}

/// Serialises a message of this type in another form than the one that it is in, and compresses it; `None` if it can
/// stay as it is. Refuses what cannot be sent.
pub(super) fn encode(
    schema: &Schema,
    message: &str,
    encoding: Encoding,
    body: &dyn Body,
) -> Result<Option<IoBuf>, Unfit> {
    Numbers::of(encoding).ok_or(Unfit)?;
    if encoding.is_plain() {
        return Ok(None);
    }
    let mut wire = IoBuf::new();
    body.append_to(&mut wire);
    let content = proto_to_content(schema, message, encoding.content, &JsonOptions::default(), wire)?;
    Ok(Some(compress::compress(encoding.compress, &content)?))
}

/// Undoes [`encode`], after a look at the checksum. No more than `max` bytes come of decompression, and protobuf made of
/// JSON is [`MAX_GROWTH`](rpc::json::MAX_GROWTH) times as large at most.
pub(super) fn decode(
    schema: &Schema,
    message: &str,
    encoding: Encoding,
    body: IoBuf,
    summed: Summed<'_>,
    max: usize,
) -> Result<IoBuf, Unfit> {
    if let Some(sum) = checksum(encoding.checksum, &body, summed.attachment)
        && sum != summed.value
    {
        return Err(Unfit);
    }
    if encoding.is_plain() {
        return Ok(body);
    }
    let content = compress::decompress(encoding.compress, &body, max)?;
    Ok(content_to_proto(schema, message, encoding.content, &JsonOptions::default(), content)?)
}

/// The checksum of a body as it travels; none of those types that are none here.
pub(super) fn checksum(kind: ChecksumType, body: &IoBuf, attachment: &IoBuf) -> Option<[u8; CHECKSUM_SIZE]> {
    match kind {
        ChecksumType::Crc32c => Some(crc32c(body, None)),
        ChecksumType::Crc32cWithAttachment => Some(crc32c(body, Some(attachment))),
        _ => None,
    }
}

/// Whether bodies of this encoding have a checksum to be looked at.
pub(super) fn has_checksum(encoding: Encoding) -> bool {
    matches!(encoding.checksum, ChecksumType::Crc32c | ChecksumType::Crc32cWithAttachment)
}
