//! Frames: a header of 12 bytes (`STRM`, the size of what follows, the size of the description), the description
//! (`StreamFrameMeta`), the payload (§3.1). They are cut as baidu_std's are; `read` reads the description in place,
//! `write` writes whole frames.

mod read;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod reference;
mod write;

pub(crate) use read::read;
#[cfg(any(test, feature = "fuzzing"))]
pub use reference::check_meta;
pub(crate) use write::write;

/// Begins every frame.
pub(crate) const MAGIC: [u8; 4] = *b"STRM";

/// The values of `FrameType`.
mod frame_type {
    pub(super) const RST: u64 = 1;
    pub(super) const CLOSE: u64 = 2;
    pub(super) const DATA: u64 = 3;
    pub(super) const FEEDBACK: u64 = 4;
}
