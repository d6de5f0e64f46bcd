//! In what form a body travels: how its message is serialised, how that is compressed, and what is summed up
//! (`spec/rpc-core.md` §20). What the forms look like as bytes is the protocols' business.

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

/// How a serialised message is compressed (`CompressType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompressType {
    /// Not at all.
    #[default]
    None,
    /// A raw block of snappy.
    Snappy,
    /// A member of gzip (RFC 1952).
    Gzip,
    /// A stream of zlib (RFC 1950).
    Zlib,
    /// A block of LZ4.
    Lz4,
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
