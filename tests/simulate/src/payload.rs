//! What messages contain: bytes that follow from their name, so that whoever gets one knows whether it is whole and
//! his own.

use std::sync::LazyLock;

use bobbin::IoBuf;

/// The longest content.
pub const PAYLOAD_MAX: usize = 1 << 20;

/// Places where contents begin.
const PLACES: usize = 4096;

/// Noise that all contents are cut from; beginning elsewhere makes another content.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = (PAYLOAD_MAX + PLACES) / 8 + 1;
    let mut noise = Vec::with_capacity(words * 8);
    for _ in 0..words {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise
});

/// The content of this name and length, at most [`PAYLOAD_MAX`].
pub fn content(name: u64, length: usize) -> &'static [u8] {
    let place = (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % PLACES;
    &NOISE[place..][..length.min(PAYLOAD_MAX)]
}

/// Whether these bytes are the content of this name and length; else what is wrong with them.
pub fn check(bytes: &IoBuf, name: u64, length: usize) -> Result<(), String> {
    if bytes.len() != length {
        return Err(format!("{} bytes instead of {length}", bytes.len()));
    }
    if *bytes == *content(name, length) {
        return Ok(());
    }
    let wrong = bytes.to_vec().iter().zip(content(name, length)).position(|(is, should)| is != should);
    Err(format!("byte {} of {length} is wrong", wrong.unwrap_or(length)))
}
