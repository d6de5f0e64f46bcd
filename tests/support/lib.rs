//! What the end-to-end tests share: an echo service that can misbehave on request, and peers that speak raw bytes,
//! and a proxy that does to connections what networks do.

pub mod features;
mod http;
mod proxy;
mod raw;
mod service;
mod streams;

pub use http::{HttpAnswer, HttpPeer};
pub use proxy::{Direction, Fault, FaultProxy};
pub use raw::{RawPeer, frame, request_frame};
pub use service::{Gate, TestEcho, start_server};
pub use streams::{Doing, StreamEnd, StreamEnds};
