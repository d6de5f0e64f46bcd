//! The description of a frame, read where it lies: nothing is allocated and nothing copied, for a request's names are
//! looked up and forgotten (§2.3).
//!
//! Accepts what protobuf accepts: fields in any order and more than once, unknown ones, messages in pieces. Like
//! protobuf it refuses a description whose `required` parts are missing. Texts are bytes here, as C++ peers do not
//! check them.

use iobuf::IoBuf;
use rpc::UserFields;
use rpc::message::{CompressType, Encoding};
use rpc::protocol::StreamSettings;
use smallvec::SmallVec;

use super::encoding::{checksum_of, content_of};
use super::wire::{DELIMITED, Malformed, VARINT, Value, field, short_bytes, varint};

/// Descriptions up to this size that lie in two blocks are put together on the stack.
const ON_STACK_MAX: usize = 256;

/// The key of the correlation id.
const KEY_OF_ID: u8 = key(4, VARINT);

/// The key of one of the first fields.
const fn key(field: u8, wire: u64) -> u8 {
    field << 3 | wire as u8
}

/// The most streams that one call may begin with. An id of one byte takes eight in memory: with more of them a
/// description could take several times its size.
pub(crate) const STREAMS_MAX: usize = 4096;

/// The most free pairs in one description. A short one takes many times its bytes in memory.
pub(crate) const USER_FIELDS_MAX: usize = 1 << 14;

/// `RpcMeta`. Missing fields have protobuf's defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meta<'a> {
    pub(crate) request: Option<Request<'a>>,
    pub(crate) response: Option<Response<'a>>,
    pub(crate) correlation_id: u64,
    pub(crate) attachment_size: i32,
    pub(crate) encoding: Encoding,
    pub(crate) checksum_value: &'a [u8],
    pub(crate) authentication_data: Option<&'a [u8]>,
    pub(crate) streams: Option<Box<StreamSettings>>,
    /// The whole description, for [`user_fields`](Self::user_fields); `None` if there are none.
    with_user_fields: Option<&'a [u8]>,
}

/// `RpcRequestMeta`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Request<'a> {
    pub(crate) service_name: &'a [u8],
    pub(crate) method_name: &'a [u8],
    pub(crate) log_id: Option<u64>,
    pub(crate) request_id: &'a [u8],
    pub(crate) timeout_ms: i32,
    /// The caller's trace, its span and the span's parent; 0 if not sent.
    pub(crate) trace: [u64; 3],
}

/// `RpcResponseMeta`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Response<'a> {
    pub(crate) error_code: i32,
    pub(crate) error_text: &'a [u8],
}

/// Memory for a description that lies in two blocks.
pub(crate) type Aux = SmallVec<[u8; ON_STACK_MAX]>;

/// The description of a frame, the first `size` bytes of it, in one piece.
pub(crate) fn description<'a>(
    frame: &'a IoBuf,
    size: usize,
    aux: &'a mut Aux,
) -> Result<&'a [u8], Malformed> {
    if frame.front().len() >= size {
        return Ok(&frame.front()[..size]);
    }
    // No more than there is: a declared size takes no memory.
    aux.resize(size.min(frame.len()), 0);
    frame.fetch(aux).filter(|bytes| bytes.len() == size).ok_or(Malformed)
}

impl<'a> Meta<'a> {
    /// Reads a description, all of `bytes`.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut meta = Meta::default();
        meta.merge(bytes)?;
        Ok(meta)
    }

    /// Reads a description, all of `bytes`, into a default value that is in its place already.
    pub(crate) fn merge(&mut self, bytes: &'a [u8]) -> Result<(), Malformed> {
        let meta = self;
        let mut request = RequestRequired::default();
        let (mut first_stream, mut chunk) = (None, None);
        let (mut checksum_type, mut with_attachment, mut user_fields) = (0, false, 0);
        let mut rest = bytes;
        // As most descriptions of requests are laid out.
        if let Some(bytes) = short_bytes(&mut rest, key(1, DELIMITED)) {
            meta.request.get_or_insert_default().merge(bytes, &mut request)?;
        }
        if let Some((&KEY_OF_ID, mut value)) = rest.split_first() {
            meta.correlation_id = varint(&mut value)?;
            rest = value;
        }
        while !rest.is_empty() {
            match field(&mut rest)? {
                (1, Value::Bytes(bytes)) => {
                    meta.request.get_or_insert_default().merge(bytes, &mut request)?
                }
                (2, Value::Bytes(bytes)) => meta.response.get_or_insert_default().merge(bytes)?,
                (3, Value::Varint(value)) => meta.encoding.compress = CompressType::new(value as i32),
                (4, Value::Varint(value)) => meta.correlation_id = value,
                (5, Value::Varint(value)) => meta.attachment_size = value as i32,
                (6, Value::Bytes(bytes)) => see_numbers(bytes, chunk.get_or_insert(0))?,
                (7, Value::Bytes(credential)) => meta.authentication_data = Some(credential),
                (8, Value::Bytes(bytes)) => {
                    read_streams(bytes, meta.streams.get_or_insert_default(), &mut first_stream)?
                }
                (9, Value::Bytes(entry)) => {
                    user_field(entry)?;
                    meta.with_user_fields = Some(bytes);
                    user_fields += 1;
                }
                (10, Value::Varint(value)) => {
                    // A closed enum: a number without a name is as if it had not been sent.
                    if let Some(content) = content_of(value as i32) {
                        meta.encoding.content = content;
                    }
                }
                (11, Value::Varint(value)) => checksum_type = value as i32,
                (12, Value::Bytes(value)) => meta.checksum_value = value,
                (13, Value::Varint(value)) => with_attachment = value != 0,
                _ => {}
            }
        }
        meta.encoding.checksum = checksum_of(checksum_type, with_attachment);
        let is_whole = (meta.request.is_none() || request.service_name && request.method_name)
            && chunk.is_none_or(|seen| seen & 0b110 == 0b110)
            && user_fields <= USER_FIELDS_MAX
            && meta.streams.is_none() == first_stream.is_none();
        if !is_whole {
            return Err(Malformed);
        }
        if let (Some(streams), Some(first)) = (&mut meta.streams, first_stream) {
            streams.ids.insert(0, first);
        }
        Ok(())
    }

    /// The free pairs; the last one of a key counts.
    pub(crate) fn user_fields(&self) -> UserFields {
        let mut fields = UserFields::default();
        let mut rest = self.with_user_fields.unwrap_or_default();
        while !rest.is_empty() {
            // It has been read before.
            match field(&mut rest) {
                Ok((9, Value::Bytes(entry))) => {
                    if let Ok((key, value)) = user_field(entry) {
                        fields.set(text(key), text(value));
                    }
                }
                Ok(_) => {}
                Err(Malformed) => break,
            }
        }
        fields
    }
}

/// The required fields of a request that have been seen.
#[derive(Default)]
struct RequestRequired {
    service_name: bool,
    method_name: bool,
}

impl<'a> Request<'a> {
    fn merge(&mut self, mut rest: &'a [u8], seen: &mut RequestRequired) -> Result<(), Malformed> {
        if let Some(name) = short_bytes(&mut rest, key(1, DELIMITED)) {
            self.service_name = name;
            seen.service_name = true;
        }
        if let Some(name) = short_bytes(&mut rest, key(2, DELIMITED)) {
            self.method_name = name;
            seen.method_name = true;
        }
        while !rest.is_empty() {
            match field(&mut rest)? {
                (1, Value::Bytes(name)) => {
                    self.service_name = name;
                    seen.service_name = true;
                }
                (2, Value::Bytes(name)) => {
                    self.method_name = name;
                    seen.method_name = true;
                }
                (3, Value::Varint(value)) => self.log_id = Some(value),
                (number @ 4..=6, Value::Varint(value)) => self.trace[number as usize - 4] = value,
                (7, Value::Bytes(id)) => self.request_id = id,
                (8, Value::Varint(value)) => self.timeout_ms = value as i32,
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> Response<'a> {
    fn merge(&mut self, mut rest: &'a [u8]) -> Result<(), Malformed> {
        while !rest.is_empty() {
            match field(&mut rest)? {
                (1, Value::Varint(value)) => self.error_code = value as i32,
                (2, Value::Bytes(text)) => self.error_text = text,
                _ => {}
            }
        }
        Ok(())
    }
}

/// Notes in `seen`, a bit for each, which of the first fields of a message are there as numbers.
fn see_numbers(mut rest: &[u8], seen: &mut u64) -> Result<(), Malformed> {
    while !rest.is_empty() {
        if let (number @ ..64, Value::Varint(_)) = field(&mut rest)? {
            *seen |= 1 << number;
        }
    }
    Ok(())
}

/// Adds a piece of `StreamSettings` to `settings`, all but the first id, which is the required one.
fn read_streams(
    mut rest: &[u8],
    settings: &mut StreamSettings,
    first: &mut Option<i64>,
) -> Result<(), Malformed> {
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Value::Varint(id)) => *first = Some(id as i64),
            (2, Value::Varint(value)) => settings.need_feedback = value != 0,
            (3, Value::Varint(value)) => settings.writable = value != 0,
            (4, Value::Varint(id)) => add_stream(id, settings)?,
            // Packed, as parsers of proto2 accept it too.
            (4, Value::Bytes(mut ids)) => {
                while !ids.is_empty() {
                    add_stream(varint(&mut ids)?, settings)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn add_stream(id: u64, settings: &mut StreamSettings) -> Result<(), Malformed> {
    if settings.ids.len() + 1 >= STREAMS_MAX {
        return Err(Malformed);
    }
    settings.ids.push(id as i64);
    Ok(())
}

/// An entry of the map of user fields.
fn user_field(mut rest: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let (mut key, mut value) = (&[][..], &[][..]);
    while !rest.is_empty() {
        match field(&mut rest)? {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((key, value))
}

/// A text that may come from a peer that does not check its texts.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
