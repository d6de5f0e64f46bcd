//! A queue of shared blocks: cut, append and send bytes without copying them.
//!
//! [`IoBuf`] holds references to ranges of reference-counted blocks of [`BLOCK_SIZE`] bytes. Cutting, cloning
//! and appending one buffer to another moves or shares those references and leaves the payload where it is.
//! Bytes enter either by a copy into the calling thread's current block, by a read into blocks of an
//! [`IoPortal`], or as memory that the user lends ([`IoBuf::append_user_data`]). They leave through a
//! scatter-gather write, a [`Reader`], or `bytes::Buf`.
//!
//! The crate owns memory and its counting. It must never wait, schedule or know a wire format: no operation
//! parks a bthread, and only the descriptor calls of [`IoBuf::write_to`], [`IoBuf::send_to`] and
//! [`IoPortal::read_from`] can block the thread, if the descriptor itself is in blocking mode.
//!
//! ```
//! use iobuf::IoBuf;
//!
//! let mut received = IoBuf::from("PRPC....payload");
//! let header = received.cut(8); // no byte is copied
//! assert_eq!(header, "PRPC....");
//! let mut reply = IoBuf::new();
//! reply.append(b"echo: ");
//! reply.append_buf(received.clone()); // shared, not copied
//! assert_eq!(reply, "echo: payload");
//! assert_eq!(received.len(), 7);
//! ```
//!
//! # Lifetime of a block
//! One remaining byte keeps its whole block. Buffers are meant for data that is short-lived; copy out
//! ([`IoBuf::to_vec`]) what has to stay.
//!
//! # Unsafe code
//! Only `block.rs` and `block/piece.rs` (memory, counting), `allocator.rs` (where it comes from) and `io.rs` (system
//! calls, spare room lent to encoders) hold any.
#![deny(unsafe_code)]

mod aligned;
mod allocator;
mod block;
mod buf;
mod cache;
mod depot;
mod io;
mod reader;
mod refs;
mod search;
mod shelf;
mod stats;
mod stream;
mod view;
mod writer;

pub use aligned::{ALIGN_MAX, ALIGNED_PIECE_MAX, AlignedRoom, InvalidAlignment};
pub use allocator::{BlockAllocator, BlocksInUse, set_block_allocator};
pub use block::{BLOCK_PAYLOAD, BLOCK_SIZE, LARGE_BLOCK_PAYLOAD, LARGE_BLOCK_SIZE, USER_BLOCK_MAX};
pub use buf::{Area, COPY_MAX, IoBuf};
pub use cache::{FREE_BLOCKS_MAX, FREE_LARGE_BLOCKS_MAX, PARTIAL_BLOCKS_MAX, trim_thread};
pub use depot::{SHARED_BYTES_MAX, trim};
pub use io::{IOV_READ_MAX, IOV_WRITE_MAX, IoPortal, REPACK_MAX, write_many};
pub use reader::Reader;
pub use stats::{Stats, stats};
pub use view::{DEBUG_BYTES_MAX, Escaped, Hex, Iter, Slices};
pub use writer::Writer;
