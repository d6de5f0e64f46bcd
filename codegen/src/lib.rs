//! Turns `.proto` files into Bobbin services and stubs, in `build.rs`, without `protoc`.
//!
//! Owns the way from a `.proto` file to Rust source: parsing ([`protox`]), message structs
//! ([`prost_build`]), and on top of them what Bobbin needs. It must never know a wire format or how a
//! call is carried: generated code only names types of the runtime (see [`Config::runtime_path`]).
//!
//! ```no_run
//! // build.rs
//! fn main() -> std::io::Result<()> {
//!     bobbin_build::compile_protos(&["proto/echo.proto"], &["proto"])
//! }
//! ```
//!
//! and then, in the crate:
//!
//! ```ignore
//! pub mod example {
//!     include!(concat!(env!("OUT_DIR"), "/example.rs")); // named after the proto package
//! }
//! ```
//!
//! Packages that refer to each other must lie in nested modules as the packages do, or the compiler finds no
//! `super::other`. [`Config::include_file`] writes a file with these modules:
//!
//! ```no_run
//! // build.rs
//! fn main() -> std::io::Result<()> {
//!     bobbin_build::Config::new().include_file("protos.rs").compile_protos(&["proto/shop.proto"], &["proto"])
//! }
//! ```
//!
//! ```ignore
//! pub mod protos {
//!     include!(concat!(env!("OUT_DIR"), "/protos.rs")); // protos::acme::shop, protos::acme::common
//! }
//! ```
//!
//! # What is generated
//!
//! Both proto2 and proto3 are read. One Rust file per proto package, imported packages included; a file
//! without a package goes to `_.rs`. For `service EchoService { rpc Echo(EchoRequest) returns (EchoResponse); }`:
//!
//! | Item | What it is |
//! |---|---|
//! | `trait EchoService` | handlers that answer by returning: `fn echo(&self, cntl, request) -> Result<EchoResponse, RpcError>` |
//! | `trait EchoServiceAsync` | handlers that get a `Responder<EchoResponse>` to answer later, from anywhere |
//! | `struct EchoServer` | adapter for a server: `EchoServer::new(handlers)`, `EchoServer::new_async(handlers)` |
//! | `struct EchoStub` | client: `echo`, `echo_with`, `start_echo`, `start_echo_with`, `echo_then`, `echo_then_with` |
//! | `impl ProtoMessage` | for every message: its full name, and which proto2 `required` fields to look for |
//! | `static EXAMPLE_SCHEMA` | the descriptors of the package's files and of all they import, for JSON and debug pages; named after the package, only `SCHEMA` without one |
//!
//! Both traits are also there for an `Arc` of what implements them, `Arc<dyn EchoService>` included, so that a program
//! can keep a share of its handlers. `google.protobuf.Empty` is `()`.
//!
//! A trailing `Service` is dropped for `…Server` and `…Stub`, unless nothing would be left. A service without
//! methods becomes nothing.
//!
//! # Names
//!
//! Types become `UpperCamel`, methods `snake_case`, keywords raw identifiers (`r#type`), as prost has it. Where
//! two functions of a stub would have the same name, the constructor `new` wins over methods, methods
//! win over the derived `start_…`, `…_with`, `…_then`, an earlier method wins over a later one, and
//! the loser gets a trailing `_`. Two *types* of one name are an error.
//!
//! # Refused
//!
//! Methods with `stream` arguments or results: baidu_std has streams of another kind, opened beside a
//! call. Every error says file, line and column where the source has one.
//!
//! # Limits
//!
//! `required` fields of the messages of `google/protobuf/descriptor.proto` are not looked for: those
//! types belong to `prost-types`. Extensions are dropped by prost, with whatever they require.

#![forbid(unsafe_code)]

mod comments;
mod config;
mod embedded_schema;
mod error;
mod layout;
mod method_names;
mod proto_message;
mod rust_path;
mod service;
mod sources;

use std::io;
use std::path::Path;

pub use config::Config;

/// Compiles `protos`, and all they import, into `OUT_DIR` with the defaults of [`Config`].
///
/// `includes` are the folders that imports are looked up in, in order; each of `protos` must lie in one
/// of them. Relative paths start at the crate, where Cargo runs build scripts. Blocks the thread.
///
/// # Errors
///
/// Whatever [`Config::compile_protos`] returns.
pub fn compile_protos(protos: &[impl AsRef<Path>], includes: &[impl AsRef<Path>]) -> io::Result<()> {
    Config::new().compile_protos(protos, includes)
}
