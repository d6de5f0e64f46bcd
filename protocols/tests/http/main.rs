//! HTTP/1 over loopback: a server here, plain sockets as its clients.

mod bodies;
mod connections;
mod pages;
mod pipelining;
mod plain;
mod progressive;
mod replies;
mod support;
mod vectors;
