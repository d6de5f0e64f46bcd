//! In what form the body of a frame is: the numbers that descriptions have for it, one word for the token of a call,
//! and the names that error texts have.

use std::fmt;

use rpc::compress;
use rpc::message::{ChecksumType, CompressType, ContentType, Encoding};

/// Of `ContentType`, a closed enum: a number without a name is as if it had not been sent (§2.3).
pub(super) fn content_of(number: i32) -> Option<ContentType> {
    match number {
        0 => Some(ContentType::Pb),
        1 => Some(ContentType::Json),
        2 => Some(ContentType::ProtoJson),
        3 => Some(ContentType::ProtoText),
        _ => None,
    }
}

/// The number of a content type; `None` for one that the format does not have.
fn content_number(content: ContentType) -> Option<u8> {
    match content {
        ContentType::Pb => Some(0),
        ContentType::Json => Some(1),
        ContentType::ProtoJson => Some(2),
        ContentType::ProtoText => Some(3),
        _ => None,
    }
}

/// Of `checksum_type` and `checksum_with_attachment` (§2.8).
pub(super) fn checksum_of(number: i32, with_attachment: bool) -> ChecksumType {
    match (number, with_attachment) {
        (0, _) => ChecksumType::None,
        (1, false) => ChecksumType::Crc32c,
        (1, true) => ChecksumType::Crc32cWithAttachment,
        _ => ChecksumType::Unknown,
    }
}

/// An encoding as a description says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(super) content: u8,
    pub(super) compress: i32,
    pub(super) checksum: u8,
    pub(super) with_attachment: bool,
}

impl Numbers {
    /// `None` if the format has no number for some part of it.
    pub(crate) fn of(encoding: Encoding) -> Option<Self> {
        let (checksum, with_attachment) = match encoding.checksum {
            ChecksumType::None => (0, false),
            ChecksumType::Crc32c => (1, false),
            ChecksumType::Crc32cWithAttachment => (1, true),
            _ => return None,
        };
        let content = content_number(encoding.content)?;
        Some(Numbers { content, compress: encoding.compress.get(), checksum, with_attachment })
    }
}

/// In one word, for the token of a call; 0 is the default.
pub(crate) fn to_bits(encoding: Encoding) -> u64 {
    let checksum: u64 = match encoding.checksum {
        ChecksumType::None => 0,
        ChecksumType::Crc32c => 1,
        ChecksumType::Crc32cWithAttachment => 2,
        _ => 3,
    };
    let compress = u64::from(encoding.compress.get() as u32);
    u64::from(content_number(encoding.content).unwrap_or(0)) | checksum << 8 | compress << 32
}

/// Undoes [`to_bits`].
pub(crate) fn from_bits(bits: u64) -> Encoding {
    let [content, checksum, ..] = bits.to_le_bytes();
    Encoding {
        content: content_of(content.into()).unwrap_or_default(),
        compress: CompressType::new((bits >> 32) as u32 as i32),
        checksum: match checksum {
            0 => ChecksumType::None,
            1 => ChecksumType::Crc32c,
            2 => ChecksumType::Crc32cWithAttachment,
            _ => ChecksumType::Unknown,
        },
    }
}

/// An encoding as brpc's error texts have it.
pub(crate) struct Form(pub(crate) Encoding);

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Encoding { content, compress, checksum } = self.0;
        let (content, compress, checksum) = (content.name(), compress::name(compress), checksum.name());
        write!(f, "ContentType={content}, CompressType={compress}, ChecksumType={checksum}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_fits_in_a_word() {
        for content in (0..4).filter_map(content_of) {
            for compress in [-1, 0, 1, 4, 1023, i32::MAX, i32::MIN].map(CompressType::new) {
                for checksum in [checksum_of(0, true), checksum_of(1, false), checksum_of(1, true)] {
                    let encoding = Encoding { content, compress, checksum };
                    assert_eq!(from_bits(to_bits(encoding)), encoding);
                }
            }
        }
        assert_eq!(from_bits(0), Encoding::default());
        assert_eq!(to_bits(Encoding::default()), 0);
    }

    #[test]
    fn numbers_that_nobody_knows_are_named_so_and_cannot_be_sent() {
        let encoding = Encoding {
            compress: CompressType::new(77),
            checksum: checksum_of(9, true),
            ..Encoding::default()
        };
        let text = "ContentType=pb, CompressType=unknown, ChecksumType=unknown";
        assert_eq!(Form(encoding).to_string(), text);
        assert_eq!(Numbers::of(encoding), None);
    }
}
