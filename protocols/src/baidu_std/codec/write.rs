//! Frames, written as brpc writes them, byte for byte (§2.4): fields ascending, those that brpc always sends also when
//! they are 0.
//!
//! Header, description and a small body are put together on the stack and appended in one piece; attachments and
//! bodies that are blocks already are shared.

use iobuf::IoBuf;
use rpc::UserFields;
use rpc::message::Body;
use smallvec::SmallVec;

use super::wire::{DELIMITED, VARINT, sign_extended, varint_len};
use super::{HEADER_SIZE, MAGIC};

/// Header and description nearly always fit in this, so that they are put together on the stack.
const ON_STACK: usize = 256;
/// A body up to this size is copied behind the description rather than appended for itself.
const BODY_COPY_MAX: usize = 1024;

/// The frame has more bytes than its header, or its attachment more than its description, can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// What follows the request or response in a description.
pub(crate) struct MetaFields<'a> {
    pub(crate) correlation_id: u64,
    pub(crate) user_fields: &'a UserFields,
    pub(crate) checksum_value: &'a [u8],
}

/// Puts one frame together.
pub(crate) struct FrameWriter {
    bytes: SmallVec<[u8; ON_STACK]>,
}

impl FrameWriter {
    pub(crate) fn new() -> Self {
        let mut bytes = SmallVec::new();
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; HEADER_SIZE - MAGIC.len()]);
        FrameWriter { bytes }
    }

    /// `RpcRequestMeta`.
    pub(crate) fn request(
        &mut self,
        service_name: &str,
        method_name: &str,
        log_id: Option<u64>,
        request_id: &str,
        timeout_ms: i32,
    ) {
        let size = bytes_size(1, service_name)
            + bytes_size(2, method_name)
            + log_id.map_or(0, |id| number_size(3, id))
            + if request_id.is_empty() {
                0
            } else {
                bytes_size(7, request_id)
            }
            + if timeout_ms > 0 {
                number_size(8, timeout_ms as u64)
            } else {
                0
            };
        self.delimited(1, size);
        self.bytes(1, service_name.as_bytes());
        self.bytes(2, method_name.as_bytes());
        if let Some(id) = log_id {
            self.number(3, id);
        }
        if !request_id.is_empty() {
            self.bytes(7, request_id.as_bytes());
        }
        if timeout_ms > 0 {
            self.number(8, timeout_ms as u64);
        }
    }

    /// `RpcResponseMeta`.
    pub(crate) fn response(&mut self, error_code: i32, error_text: &str) {
        let code = sign_extended(error_code);
        let size = number_size(1, code)
            + if error_text.is_empty() {
                0
            } else {
                bytes_size(2, error_text)
            };
        self.delimited(2, size);
        self.number(1, code);
        if !error_text.is_empty() {
            self.bytes(2, error_text.as_bytes());
        }
    }

    /// The rest of the description, the body and the attachment; appends the frame to `out`, or nothing.
    pub(crate) fn finish(
        mut self,
        fields: MetaFields<'_>,
        body: Option<&dyn Body>,
        attachment: IoBuf,
        out: &mut IoBuf,
    ) -> Result<(), TooLarge> {
        let attachment_size = i32::try_from(attachment.len()).map_err(|_| TooLarge)?;
        self.number(3, 0); // compress_type
        self.number(4, fields.correlation_id);
        if attachment_size > 0 {
            self.number(5, attachment_size as u64);
        }
        for (key, value) in fields.user_fields.iter() {
            self.delimited(9, bytes_size(1, key) + bytes_size(2, value));
            self.bytes(1, key.as_bytes());
            self.bytes(2, value.as_bytes());
        }
        self.number(10, 0); // content_type
        self.number(11, 0); // checksum_type
        self.bytes(12, fields.checksum_value);

        let meta_size = self.bytes.len() - HEADER_SIZE;
        let size = body.map_or(0, |body| body.size());
        let body_size = meta_size.saturating_add(size).saturating_add(attachment.len());
        let body_size = u32::try_from(body_size).map_err(|_| TooLarge)?;
        self.bytes[4..8].copy_from_slice(&body_size.to_be_bytes());
        self.bytes[8..HEADER_SIZE].copy_from_slice(&(meta_size as u32).to_be_bytes());
        match body {
            Some(body) if size <= BODY_COPY_MAX => {
                let start = self.bytes.len();
                self.bytes.resize(start + size, 0);
                body.copy_into(&mut self.bytes[start..]);
                out.append(&self.bytes);
            }
            body => {
                out.append(&self.bytes);
                body.inspect(|body| body.append_to(out));
            }
        }
        out.append_buf(attachment);
        Ok(())
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.delimited(field, value.len());
        self.bytes.extend_from_slice(value);
    }

    fn delimited(&mut self, field: u64, size: usize) {
        self.varint(field << 3 | DELIMITED);
        self.varint(size as u64);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

fn number_size(field: u64, value: u64) -> usize {
    varint_len(field << 3) + varint_len(value)
}

fn bytes_size(field: u64, value: &str) -> usize {
    varint_len(field << 3) + varint_len(value.len() as u64) + value.len()
}
