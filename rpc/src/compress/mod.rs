//! How bodies are made smaller, and larger again: one [`Compressor`] for each number that bodies are sent with
//! (`spec/rpc-core.md` §20).
//!
//! Owns the registry and the bounds on what a few bytes may become. Knows no frame and no message. Nothing here
//! trusts a length that a body declares: memory is taken as bytes come out, or by a factor that the format itself
//! cannot exceed.
//!
//! | Type | Bytes |
//! |---|---|
//! | [`SNAPPY`](CompressType::SNAPPY) | a raw block, without the framing format |
//! | [`GZIP`](CompressType::GZIP) | one member (RFC 1952) and nothing behind it |
//! | [`ZLIB`](CompressType::ZLIB) | one stream (RFC 1950) and nothing behind it |
//! | [`LZ4`](CompressType::LZ4) | the size decompressed, 4 bytes little-endian, and a block. brpc has no codec for it: between peers of this crate alone |
//!
//! ```
//! use iobuf::IoBuf;
//! use rpc::compress;
//! use rpc::message::CompressType;
//!
//! let text = IoBuf::from("the quick brown fox ".repeat(100));
//! let small = compress::compress(CompressType::SNAPPY, &text).unwrap();
//! assert!(small.len() < text.len() / 10);
//! assert_eq!(compress::decompress(CompressType::SNAPPY, &small, 2000).unwrap(), text);
//! assert!(compress::decompress(CompressType::SNAPPY, &small, 1999).is_err());
//! ```

mod block;
mod deflate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;

use iobuf::IoBuf;

use crate::error::{EINVAL, RpcError};
use crate::message::CompressType;

/// Types that can be registered have numbers below this, as in brpc.
pub const COMPRESS_TYPES_MAX: usize = 1024;

/// A body may become so many times as large by decompression, once it is larger than [`GROWN_FREE`]; text rarely
/// shrinks to less than a fiftieth.
pub const GROWTH_MAX: usize = 200;

/// A body may become so large by decompression, whatever it was.
pub const GROWN_FREE: usize = 1 << 20;

/// One way to compress. Stateless and shared; no method waits.
pub trait Compressor: Send + Sync + 'static {
    /// The name that texts of errors have for it.
    fn name(&self) -> &'static str;

    /// Compresses.
    ///
    /// # Errors
    /// It cannot be, as it is too large for the format, say.
    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError>;

    /// Undoes [`compress`](Self::compress) for bytes that may be anything, taking memory as bytes come out.
    ///
    /// # Errors
    /// The bytes are not of this format, or more than `max` would come of them.
    fn decompress(&self, body: &IoBuf, max: usize) -> Result<IoBuf, CompressError>;
}

/// Why a body cannot be compressed or decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompressError {
    /// Nobody has registered the type.
    Unregistered,
    /// More comes of it than is allowed.
    TooLarge,
    /// It is not of the format; the text says how.
    Malformed(&'static str),
}

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CompressError::Unregistered => "the type is not registered",
            CompressError::TooLarge => "it is too large",
            CompressError::Malformed(how) => how,
        })
    }
}

impl std::error::Error for CompressError {}

static BUNDLED: [(CompressType, &dyn Compressor); 4] = [
    (CompressType::SNAPPY, &block::Snappy),
    (CompressType::GZIP, &deflate::Gzip),
    (CompressType::ZLIB, &deflate::Zlib),
    (CompressType::LZ4, &block::Lz4),
];

/// Those of users, by number.
static REGISTERED: [OnceLock<&'static dyn Compressor>; COMPRESS_TYPES_MAX] =
    [const { OnceLock::new() }; COMPRESS_TYPES_MAX];

/// Gives a number a meaning, for the rest of the process; both ends of a connection have to.
///
/// # Errors
/// [`EINVAL`] for a number that is not below [`COMPRESS_TYPES_MAX`], or that has a meaning already.
pub fn register(kind: CompressType, compressor: &'static dyn Compressor) -> Result<(), RpcError> {
    let number = kind.get();
    let slot = usize::try_from(number).ok().and_then(|number| REGISTERED.get(number));
    let slot = slot.ok_or_else(|| RpcError::new(EINVAL, format!("CompressType={number} is out of range")))?;
    let taken = || RpcError::new(EINVAL, format!("CompressType={number} is registered already"));
    if kind == CompressType::NONE || find(kind).is_some() {
        return Err(taken());
    }
    slot.set(compressor).map_err(|_| taken())
}

/// What is registered for a type.
pub fn find(kind: CompressType) -> Option<&'static dyn Compressor> {
    if let Some((_, bundled)) = BUNDLED.iter().find(|(known, _)| *known == kind) {
        return Some(*bundled);
    }
    REGISTERED.get(usize::try_from(kind.get()).ok()?)?.get().copied()
}

/// The name of a type: `none`, that of its compressor, or `unknown`.
pub fn name(kind: CompressType) -> &'static str {
    match kind {
        CompressType::NONE => "none",
        kind => find(kind).map_or("unknown", |compressor| compressor.name()),
    }
}

/// All names of types that are registered, by number, with spaces between them.
pub(crate) fn names() -> String {
    let numbers = 1..COMPRESS_TYPES_MAX as i32;
    let found = numbers.filter_map(|number| find(CompressType::new(number)));
    found.map(|compressor| compressor.name()).collect::<Vec<_>>().join(" ")
}

/// Compresses a body; with [`CompressType::NONE`] it stays as it is.
///
/// # Errors
/// The type is not registered, or the compressor refuses.
pub fn compress(kind: CompressType, body: &IoBuf) -> Result<IoBuf, CompressError> {
    match kind {
        CompressType::NONE => Ok(body.clone()),
        kind => find(kind).ok_or(CompressError::Unregistered)?.compress(body),
    }
}

/// Undoes [`compress`]. No more comes of it than `max` bytes, nor more than [`GROWTH_MAX`] times its size, or
/// [`GROWN_FREE`] bytes if that is more.
///
/// # Errors
/// The type is not registered, the body not of its format, or too much would come of it.
pub fn decompress(kind: CompressType, body: &IoBuf, max: usize) -> Result<IoBuf, CompressError> {
    if kind == CompressType::NONE {
        return if body.len() <= max { Ok(body.clone()) } else { Err(CompressError::TooLarge) };
    }
    let max = max.min(body.len().saturating_mul(GROWTH_MAX).max(GROWN_FREE));
    let out = find(kind).ok_or(CompressError::Unregistered)?.decompress(body, max)?;
    // A compressor may be a user's.
    if out.len() <= max { Ok(out) } else { Err(CompressError::TooLarge) }
}
