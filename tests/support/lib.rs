//! What the end-to-end tests share: an echo service that can misbehave on request, and peers that speak raw bytes.

mod http;
mod raw;
mod service;

pub use http::{HttpAnswer, HttpPeer};
pub use raw::{RawPeer, frame, request_frame};
pub use service::{Gate, TestEcho, start_server};
