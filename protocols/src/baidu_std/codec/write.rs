//! Frames, written as brpc writes them, byte for byte (§2.4): fields ascending, those that brpc always sends also when
//! they are 0.
//!
//! Header, description and a small body are put together on the stack and appended in one piece; attachments and
//! bodies that are blocks already are shared.

use iobuf::IoBuf;
use rpc::UserFields;
use rpc::message::Body;
use rpc::protocol::StreamSettings;

use super::encoding::Numbers;
use super::read::USER_FIELDS_MAX;
use super::wire::{DELIMITED, VARINT, sign_extended, varint_len};
use super::{HEADER_SIZE, MAGIC};

/// A frame without its attachment up to this size is put together on the stack.
const ON_STACK_MAX: usize = 256;
/// A body up to this size is copied behind its description rather than appended for itself.
const BODY_COPY_MAX: usize = 1024;

/// An attachment up to this size is copied: shared, it would keep a whole block of the request that it may have come
/// with for as long as the peer takes no replies.
const ATTACHMENT_COPY_MAX: usize = 1024;

/// The frame has more bytes than its header, or its attachment more than its description, can say, or it has more than
/// [`USER_FIELDS_MAX`] free pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// A description to be written.
pub(crate) struct MetaToWrite<'a> {
    pub(crate) kind: Kind<'a>,
    pub(crate) correlation_id: u64,
    pub(crate) user_fields: &'a UserFields,
    /// Sent also when it is empty; `None`: not sent.
    pub(crate) credential: Option<&'a [u8]>,
    pub(crate) streams: Option<&'a StreamSettings>,
    pub(crate) form: FormToWrite<'a>,
}

/// What a description says of the form of the body.
#[derive(Clone, Copy)]
pub(crate) enum FormToWrite<'a> {
    /// Everything, and the checksum or what stands in its place.
    Whole(Numbers, &'a [u8]),
    /// All but the checksum: brpc's calls without a method descriptor.
    Unchecked(Numbers),
    /// Nothing: the answer to those who are not let in.
    Unsaid,
}

/// Whose description it is.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// `RpcRequestMeta`.
    Request {
        service_name: &'a str,
        method_name: &'a str,
        log_id: Option<u64>,
        /// Empty: not sent.
        request_id: &'a str,
        /// 0: not sent.
        timeout_ms: u32,
        /// Trace, span and the span's parent; without a trace none is sent, as the presence of each means a trace.
        trace: [u64; 3],
    },
    /// `RpcResponseMeta`.
    Response {
        error_code: i32,
        /// Empty: not sent.
        error_text: &'a str,
    },
}

/// Appends a frame to `out`, or nothing.
pub(crate) fn write_frame(
    meta: &MetaToWrite<'_>,
    body: Option<&dyn Body>,
    attachment: IoBuf,
    out: &mut IoBuf,
) -> Result<(), TooLarge> {
    let attachment_size = i32::try_from(attachment.len()).map_err(|_| TooLarge)?;
    if meta.user_fields.len() > USER_FIELDS_MAX {
        return Err(TooLarge);
    }
    let meta_size = meta.size(attachment_size);
    let size = body.map_or(0, |body| body.size());
    let body_size = meta_size.saturating_add(size).saturating_add(attachment.len());
    let body_size = u32::try_from(body_size).map_err(|_| TooLarge)?;

    let is_copied = size <= BODY_COPY_MAX;
    let together = HEADER_SIZE + meta_size + if is_copied { size } else { 0 };
    let (mut on_stack, mut on_heap) = ([0; ON_STACK_MAX], Vec::new());
    let bytes = if together <= ON_STACK_MAX {
        &mut on_stack[..together]
    } else {
        on_heap.resize(together, 0);
        &mut on_heap[..]
    };
    let mut cursor = Cursor { room: bytes, at: 0 };
    cursor.put(&MAGIC);
    cursor.put(&body_size.to_be_bytes());
    cursor.put(&(meta_size as u32).to_be_bytes());
    meta.write(attachment_size, &mut cursor);
    match body {
        Some(body) if is_copied => {
            body.copy_into(&mut cursor.room[cursor.at..]);
            out.append(bytes);
        }
        body => {
            out.append(bytes);
            body.inspect(|body| body.append_to(out));
        }
    }
    if attachment.len() <= ATTACHMENT_COPY_MAX {
        attachment.slices().for_each(|slice| out.append(slice));
    } else {
        out.append_buf(attachment);
    }
    Ok(())
}

impl MetaToWrite<'_> {
    fn size(&self, attachment_size: i32) -> usize {
        let kind = self.kind.size();
        let mut size = bytes_size(kind) + number_size(self.correlation_id) + self.form.size();
        if attachment_size > 0 {
            size += number_size(attachment_size as u64);
        }
        if let Some(credential) = self.credential {
            size += bytes_size(credential.len());
        }
        if let Some(streams) = self.streams {
            size += bytes_size(streams_size(streams));
        }
        for (key, value) in self.user_fields.iter() {
            size += bytes_size(bytes_size(key.len()) + bytes_size(value.len()));
        }
        size
    }

    fn write(&self, attachment_size: i32, to: &mut Cursor<'_>) {
        match self.kind {
            // A good reply's: the two fields with a zero each.
            Kind::Response { error_code: 0, error_text: "" } => to.put(&[0x12, 2, 0x08, 0]),
            kind => kind.write(to),
        }
        if let FormToWrite::Whole(numbers, _) | FormToWrite::Unchecked(numbers) = self.form {
            to.number(3, sign_extended(numbers.compress));
        }
        to.number(4, self.correlation_id);
        if attachment_size > 0 {
            to.number(5, attachment_size as u64);
        }
        if let Some(credential) = self.credential {
            to.bytes(7, credential);
        }
        if let Some(streams) = self.streams {
            write_streams(streams, to);
        }
        for (key, value) in self.user_fields.iter() {
            to.delimited(9, bytes_size(key.len()) + bytes_size(value.len()));
            to.bytes(1, key.as_bytes());
            to.bytes(2, value.as_bytes());
        }
        match self.form {
            FormToWrite::Whole(numbers, checksum_value) => {
                to.number(10, numbers.content.into());
                to.number(11, numbers.checksum.into());
                to.bytes(12, checksum_value);
                if numbers.with_attachment {
                    to.number(13, 1);
                }
            }
            FormToWrite::Unchecked(numbers) => to.number(10, numbers.content.into()),
            FormToWrite::Unsaid => {}
        }
    }
}

impl FormToWrite<'_> {
    /// Of the fields 3 and 10 to 13; numbers but the first are below 128.
    fn size(&self) -> usize {
        let compress = |numbers: &Numbers| number_size(sign_extended(numbers.compress));
        match self {
            FormToWrite::Whole(numbers, checksum_value) => {
                let with_attachment = if numbers.with_attachment { 2 } else { 0 };
                compress(numbers) + 4 + bytes_size(checksum_value.len()) + with_attachment
            }
            FormToWrite::Unchecked(numbers) => compress(numbers) + 2,
            FormToWrite::Unsaid => 0,
        }
    }
}

fn streams_size(streams: &StreamSettings) -> usize {
    4 + streams.ids.iter().map(|id| number_size(*id as u64)).sum::<usize>()
}

/// The two switches are there also when they are off.
fn write_streams(streams: &StreamSettings, to: &mut Cursor<'_>) {
    to.delimited(8, streams_size(streams));
    let (first, others) = streams.ids.split_at(streams.ids.len().min(1));
    first.iter().for_each(|id| to.number(1, *id as u64));
    to.number(2, streams.need_feedback.into());
    to.number(3, streams.writable.into());
    others.iter().for_each(|id| to.number(4, *id as u64));
}

impl Kind<'_> {
    fn size(&self) -> usize {
        match *self {
            Kind::Request { service_name, method_name, log_id, request_id, timeout_ms, trace } => {
                bytes_size(service_name.len())
                    + bytes_size(method_name.len())
                    + log_id.map_or(0, number_size)
                    + if trace[0] == 0 { 0 } else { trace.into_iter().map(number_size).sum() }
                    + if request_id.is_empty() { 0 } else { bytes_size(request_id.len()) }
                    + if timeout_ms == 0 { 0 } else { number_size(timeout_ms.into()) }
            }
            Kind::Response { error_code, error_text } => {
                number_size(sign_extended(error_code))
                    + if error_text.is_empty() { 0 } else { bytes_size(error_text.len()) }
            }
        }
    }

    fn write(&self, to: &mut Cursor<'_>) {
        match *self {
            Kind::Request { service_name, method_name, log_id, request_id, timeout_ms, trace } => {
                to.delimited(1, self.size());
                to.bytes(1, service_name.as_bytes());
                to.bytes(2, method_name.as_bytes());
                if let Some(id) = log_id {
                    to.number(3, id);
                }
                if trace[0] != 0 {
                    (4..).zip(trace).for_each(|(field, id)| to.number(field, id));
                }
                if !request_id.is_empty() {
                    to.bytes(7, request_id.as_bytes());
                }
                if timeout_ms != 0 {
                    to.number(8, timeout_ms.into());
                }
            }
            Kind::Response { error_code, error_text } => {
                to.delimited(2, self.size());
                to.number(1, sign_extended(error_code));
                if !error_text.is_empty() {
                    to.bytes(2, error_text.as_bytes());
                }
            }
        }
    }
}

/// The room that was measured, and how much of it is filled.
struct Cursor<'a> {
    room: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.room[self.at..end].copy_from_slice(bytes);
        self.at = end;
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.room[self.at] = byte;
        self.at += 1;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    #[inline]
    fn number(&mut self, field: u64, value: u64) {
        self.byte((field << 3 | VARINT) as u8);
        self.varint(value);
    }

    #[inline]
    fn delimited(&mut self, field: u64, size: usize) {
        self.byte((field << 3 | DELIMITED) as u8);
        self.varint(size as u64);
    }

    #[inline]
    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.delimited(field, value.len());
        self.put(value);
    }
}

/// The size of a field; all numbers here are below 16, so that their keys take one byte.
fn number_size(value: u64) -> usize {
    1 + varint_len(value)
}

/// As [`number_size`].
fn bytes_size(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}
