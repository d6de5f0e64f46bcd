//! HTTP/1 over loopback: a server here, plain sockets as its clients.

mod bodies;
mod connections;
mod plain;
mod progressive;
mod slow;
mod support;
mod vectors;
