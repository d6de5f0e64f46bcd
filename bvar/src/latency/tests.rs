//! Latency recorders.
