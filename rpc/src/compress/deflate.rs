//! gzip and zlib: the same compression in two envelopes. Decompressed piece by piece.

use std::io::{self, BufRead, Read, Write};

use flate2::Compression;
use flate2::bufread::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use iobuf::{IoBuf, Reader, Writer};

use super::{CompressError, Compressor};

/// A member of gzip.
pub(super) struct Gzip;

/// A stream of zlib.
pub(super) struct Zlib;

/// Bytes that are decompressed at a time.
const PIECE: usize = 16 << 10;

const FAILED: CompressError = CompressError::Malformed("it cannot be compressed");

impl Compressor for Gzip {
    fn name(&self) -> &'static str {
        "gzip"
    }

    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError> {
        let mut out = IoBuf::new();
        let mut encoder = GzEncoder::new(Writer::new(&mut out), Compression::default());
        write_all(body, &mut encoder).and_then(|()| encoder.finish()).map_err(|_| FAILED)?;
        Ok(out)
    }

    fn decompress(&self, body: &IoBuf, max: usize) -> Result<IoBuf, CompressError> {
        let mut decoder = GzDecoder::new(Reader::new(body));
        let out = read_all(&mut decoder, max, "it is not gzip")?;
        nothing_behind(decoder.into_inner(), out)
    }
}

impl Compressor for Zlib {
    fn name(&self) -> &'static str {
        "zlib"
    }

    fn compress(&self, body: &IoBuf) -> Result<IoBuf, CompressError> {
        let mut out = IoBuf::new();
        let mut encoder = ZlibEncoder::new(Writer::new(&mut out), Compression::default());
        write_all(body, &mut encoder).and_then(|()| encoder.finish()).map_err(|_| FAILED)?;
        Ok(out)
    }

    fn decompress(&self, body: &IoBuf, max: usize) -> Result<IoBuf, CompressError> {
        let mut decoder = ZlibDecoder::new(Reader::new(body));
        let out = read_all(&mut decoder, max, "it is not zlib")?;
        nothing_behind(decoder.into_inner(), out)
    }
}

fn write_all(body: &IoBuf, encoder: &mut impl Write) -> io::Result<()> {
    body.slices().try_for_each(|slice| encoder.write_all(slice))
}

fn read_all(decoder: &mut impl Read, max: usize, wrong: &'static str) -> Result<IoBuf, CompressError> {
    let (mut out, mut piece) = (IoBuf::new(), vec![0; PIECE]);
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(out),
            Ok(read) if read > max - out.len() => return Err(CompressError::TooLarge),
            Ok(read) => out.append(&piece[..read]),
            Err(_) => return Err(CompressError::Malformed(wrong)),
        }
    }
}

fn nothing_behind(mut rest: Reader<'_>, out: IoBuf) -> Result<IoBuf, CompressError> {
    match rest.fill_buf() {
        Ok([]) => Ok(out),
        _ => Err(CompressError::Malformed("more bytes follow it")),
    }
}
