//! The life of a call over real sockets: retries, backup requests, cancels, deadlines that are handed on, credentials,
//! and what is told of it all.

mod auth;
mod backup;
mod cancel;
mod ends;
mod nested;
mod peer;
mod retry;
mod stress;
#[path = "../support/mod.rs"]
mod support;
