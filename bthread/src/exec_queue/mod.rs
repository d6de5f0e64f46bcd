//! x
mod handover;
