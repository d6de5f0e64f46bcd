//! HTTP/1 over loopback: a server here and plain sockets as its clients, then channels and peers of all kinds.

mod bodies;
mod calls;
mod connections;
mod fetch;
mod pages;
mod peer;
mod pipelining;
mod plain;
mod progressive;
mod reading;
mod replies;
mod slow;
mod support;
mod vectors;
