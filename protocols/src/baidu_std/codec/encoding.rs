//! In what form the body of a frame is: how it was serialised, compressed and summed up, by numbers and by the names
//! that error texts have for them.

use std::fmt;

/// The form of a body. The default is the one that can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoding {
    pub(crate) content: Content,
    pub(crate) compress: Compress,
    pub(crate) checksum: Checksum,
}

impl Encoding {
    /// Whether a body of this form can be read. A checksum of an unknown type is not looked at (§2.8).
    pub(crate) fn is_readable(self) -> bool {
        self.content == Content::Pb && self.compress == Compress::None && self.checksum != Checksum::Crc32c
    }

    /// In one word, for the token of a call.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.content as u8)
            | u64::from(self.compress as u8) << 8
            | u64::from(self.checksum as u8) << 16
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let [content, compress, checksum, ..] = bits.to_le_bytes().map(i32::from);
        Encoding {
            content: Content::of(content).unwrap_or_default(),
            compress: Compress::of(compress),
            checksum: Checksum::of(checksum),
        }
    }
}

/// As in brpc's error texts.
impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (content, compress, checksum) = (self.content.name(), self.compress.name(), self.checksum.name());
        write!(f, "ContentType={content}, CompressType={compress}, ChecksumType={checksum}")
    }
}

/// How the body is compressed (§0.10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Compress {
    #[default]
    None,
    Snappy,
    Gzip,
    Zlib,
    Lz4,
    Unknown,
}

/// How the body is serialised (§2.9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Content {
    #[default]
    Pb,
    Json,
    ProtoJson,
    ProtoText,
}

/// What the checksum is (§2.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Checksum {
    #[default]
    None,
    Crc32c,
    Unknown,
}

impl Compress {
    const NUMBERED: [Self; 5] = [Self::None, Self::Snappy, Self::Gzip, Self::Zlib, Self::Lz4];

    pub(super) fn of(number: i32) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::NUMBERED.get(index).copied())
            .unwrap_or(Self::Unknown)
    }

    /// brpc's name.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Lz4 => "lz4",
            Self::Unknown => "unknown",
        }
    }
}

impl Content {
    pub(super) fn of(number: i32) -> Option<Self> {
        let numbered = [Self::Pb, Self::Json, Self::ProtoJson, Self::ProtoText];
        numbered.get(usize::try_from(number).ok()?).copied()
    }

    /// brpc's name.
    fn name(self) -> &'static str {
        match self {
            Self::Pb => "pb",
            Self::Json => "json",
            Self::ProtoJson => "proto-json",
            Self::ProtoText => "proto-text",
        }
    }
}

impl Checksum {
    pub(super) fn of(number: i32) -> Self {
        match number {
            0 => Self::None,
            1 => Self::Crc32c,
            _ => Self::Unknown,
        }
    }

    /// brpc's name.
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Crc32c => "crc32c",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_fits_in_a_word() {
        for content in (0..4).filter_map(Content::of) {
            for compress in (-1..6).map(Compress::of) {
                for checksum in (-1..3).map(Checksum::of) {
                    let encoding = Encoding { content, compress, checksum };
                    assert_eq!(Encoding::from_bits(encoding.to_bits()), encoding);
                }
            }
        }
        assert_eq!(Encoding::from_bits(0), Encoding::default());
        assert!(Encoding::default().is_readable());
    }
}
