//! Streams over loopback: captured peers in both roles, then servers and channels of this side.

mod closing;
mod early;
mod handlers;
mod offering;
mod order;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod untrusted;
mod vectors;
mod windows;
mod wire;
