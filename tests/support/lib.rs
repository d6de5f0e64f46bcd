//! What the end-to-end tests share: an echo service that can misbehave on request, and a peer that speaks raw bytes.

mod raw;
mod service;

pub use raw::{RawPeer, frame, request_frame};
pub use service::{Gate, TestEcho, start_server};
