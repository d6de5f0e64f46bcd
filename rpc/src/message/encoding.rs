//! In what form a body travels: how its message is serialised, how that is compressed, and what is summed up
//! (`spec/rpc-core.md` §20). How a frame says so is the protocols' business.

/// How a message is serialised (`ContentType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ContentType {
    /// Binary protobuf.
    #[default]
    Pb,
    /// JSON as brpc writes it.
    Json,
    /// JSON as protobuf defines it.
    ProtoJson,
    /// Protobuf's text format.
    ProtoText,
}

impl ContentType {
    /// brpc's name: `pb`, `json`, `proto-json` or `proto-text`.
    pub fn name(self) -> &'static str {
        match self {
            ContentType::Pb => "pb",
            ContentType::Json => "json",
            ContentType::ProtoJson => "proto-json",
            ContentType::ProtoText => "proto-text",
        }
    }
}

/// How a serialised message is compressed, by brpc's number (`CompressType`). Numbers beside those named here may be
/// given a meaning with [`compress::register`](crate::compress::register).
///
/// ```
/// use rpc::message::CompressType;
///
/// assert_eq!(CompressType::default(), CompressType::NONE);
/// assert_eq!(CompressType::new(2), CompressType::GZIP);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CompressType(i32);

impl CompressType {
    /// Not at all.
    pub const NONE: CompressType = CompressType(0);
    /// A raw block of snappy.
    pub const SNAPPY: CompressType = CompressType(1);
    /// A member of gzip (RFC 1952).
    pub const GZIP: CompressType = CompressType(2);
    /// A stream of zlib (RFC 1950).
    pub const ZLIB: CompressType = CompressType(3);
    /// A block of LZ4 behind its decompressed size. brpc reserves the number and has no codec for it: for use between
    /// peers of this crate alone.
    pub const LZ4: CompressType = CompressType(4);

    /// The type of this number, whether or not anybody knows it.
    pub const fn new(number: i32) -> Self {
        CompressType(number)
    }

    /// Its number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

/// What a body is checked by (`ChecksumType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumType {
    /// Nothing.
    #[default]
    None,
    /// CRC-32C of the body as it travels.
    Crc32c,
    /// As [`Crc32c`](Self::Crc32c), and of the attachment behind it.
    Crc32cWithAttachment,
    /// Something that a peer has sent and nobody here knows. Not checked, as in brpc; it cannot be sent.
    Unknown,
}

impl ChecksumType {
    /// brpc's name: `none`, `crc32c` or `unknown`.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumType::None => "none",
            ChecksumType::Crc32c | ChecksumType::Crc32cWithAttachment => "crc32c",
            ChecksumType::Unknown => "unknown",
        }
    }
}

/// The form of a body. The default is binary protobuf as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encoding {
    /// How the message is serialised.
    pub content: ContentType,
    /// How that is compressed.
    pub compress: CompressType,
    /// What the result is checked by.
    pub checksum: ChecksumType,
}

impl Encoding {
    /// Whether the bytes are those of binary protobuf, whatever they are checked by.
    pub fn is_plain(&self) -> bool {
        self.content == ContentType::Pb && self.compress == CompressType::NONE
    }
}
