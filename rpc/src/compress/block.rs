//! The formats that are one block with its size in front: snappy and LZ4. Both are decompressed in one piece, after
//! the declared size was compared with what a block of that length can become at most.

use std::borrow::Cow;

use iobuf::IoBuf;
use snap::raw;

use super::{CompressError, Compressor};

/// A raw block of snappy.
pub(super) struct Snappy;

/// What a byte of snappy can become: its densest element is a copy of 64 bytes in 3.
const SNAPPY_GROWTH_MAX: usize = 22;

/// A block of LZ4 behind its size.
pub(super) struct Lz4;

/// What a byte of LZ4 can become: each further byte of a length adds 255.
const LZ4_GROWTH_MAX: usize = 255;

/// The bytes in front of a block of LZ4.
const LZ4_SIZE_LEN: usize = 4;

impl Compressor for Snappy {
    fn name(&self) -> &'static str {
        "snappy"
    }

    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError> {
        let compressed = raw::Encoder::new().compress_vec(&contiguous(body));
        compressed.map(IoBuf::from).map_err(|_| CompressError::TooLarge)
    }

    fn decompress(&self, body: &IoBuf, max: usize) -> Result<IoBuf, CompressError> {
        let bytes = contiguous(body);
        let not_snappy = |_| CompressError::Malformed("it is not snappy");
        let size = raw::decompress_len(&bytes).map_err(not_snappy)?;
        check_size(size, bytes.len().saturating_mul(SNAPPY_GROWTH_MAX), max)?;
        let mut out = vec![0; size];
        let made = raw::Decoder::new().decompress(&bytes, &mut out).map_err(not_snappy)?;
        out.truncate(made);
        Ok(out.into())
    }
}

impl Compressor for Lz4 {
    fn name(&self) -> &'static str {
        "lz4"
    }

    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError> {
        if u32::try_from(body.len()).is_err() {
            return Err(CompressError::TooLarge);
        }
        Ok(lz4_flex::block::compress_prepend_size(&contiguous(body)).into())
    }

    fn decompress(&self, body: &IoBuf, max: usize) -> Result<IoBuf, CompressError> {
        let bytes = contiguous(body);
        let not_lz4 = CompressError::Malformed("it is not lz4");
        let (size, block) = bytes.split_first_chunk::<LZ4_SIZE_LEN>().ok_or(not_lz4)?;
        let size = u32::from_le_bytes(*size) as usize;
        check_size(size, block.len().saturating_mul(LZ4_GROWTH_MAX), max)?;
        let mut out = vec![0; size];
        match lz4_flex::block::decompress_into(block, &mut out) {
            Ok(made) if made == size => Ok(out.into()),
            _ => Err(not_lz4),
        }
    }
}

/// Whether a declared size may be believed.
fn check_size(declared: usize, possible: usize, max: usize) -> Result<(), CompressError> {
    if declared > possible {
        return Err(CompressError::Malformed("it declares a size that it cannot have"));
    }
    if declared > max { Err(CompressError::TooLarge) } else { Ok(()) }
}

/// The bytes in one slice.
fn contiguous(body: &IoBuf) -> Cow<'_, [u8]> {
    let front = body.front();
    if front.len() == body.len() { front.into() } else { body.to_vec().into() }
}
