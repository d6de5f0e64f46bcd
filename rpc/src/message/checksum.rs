//! The checksum of bodies: CRC-32C, masked so that a sum of bytes that hold a sum of their own is one still
//! (`spec/protocols-baidu.md` §2.8).

use iobuf::IoBuf;

/// What a checksum takes on the wire.
pub const CHECKSUM_SIZE: usize = 4;

/// Added to a rotated CRC.
const MASK: u32 = 0xa282_ead8;

/// The masked CRC-32C of a body, and of the attachment behind it if there is one, as it travels. Costs a pass over the
/// bytes; none is copied.
///
/// ```
/// use iobuf::IoBuf;
///
/// let body = IoBuf::from("\x0a\x05hello");
/// assert_eq!(rpc::message::crc32c(&body, None), [0x61, 0xf6, 0x3a, 0x7e]);
/// assert_eq!(rpc::message::crc32c(&body, Some(&"abc".into())), [0x3d, 0x25, 0x98, 0x3c]);
/// ```
pub fn crc32c(body: &IoBuf, attachment: Option<&IoBuf>) -> [u8; CHECKSUM_SIZE] {
    let slices = body.slices().chain(attachment.into_iter().flat_map(IoBuf::slices));
    let sum = slices.fold(0, crc32c::crc32c_append);
    sum.rotate_right(15).wrapping_add(MASK).to_be_bytes()
}
