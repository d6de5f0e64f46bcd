//! Bobbin: stackful green threads, zero-copy buffers and an RPC framework that speaks with Apache brpc.
//!
//! This crate is the one to depend on. It has no logic: it re-exports the crates below under one name, and
//! chooses the protocols that [`Server`] and [`Channel`] speak by default ([`protocols::ALL`]).
//!
//! | Crate | In one line |
//! |---|---|
//! | [`bthread`] | tasks that may block, many on few threads, and all that they can wait on |
//! | [`iobuf`] | a queue of shared blocks: cut, append and send without copying |
//! | [`bvar`] | counters written per thread, folded when read |
//! | [`profile`] | where time and memory go, as flame graphs and for pprof |
//! | [`rpc`] | servers, channels, calls; knows no wire format |
//! | [`protocols`] | the wire formats |
//!
//! What a program needs to serve and to call is here under its own name; the crates have the rest.
//!
//! # An echo service
//!
//! Services and stubs are generated from `.proto` files by the crate `bobbin-build`, without `protoc`:
//!
//! ```ignore
//! // build.rs
//! fn main() -> std::io::Result<()> {
//!     bobbin_build::compile_protos(&["proto/echo.proto"], &["proto"])
//! }
//! ```
//!
//! A handler is an ordinary function. It runs in a bthread, so that waiting in it blocks no thread:
//!
//! ```no_run
//! # mod example {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/tests/golden/example.rs"));
//! # }
//! # #[cfg(any())]
//! mod example {
//!     include!(concat!(env!("OUT_DIR"), "/example.rs"));
//! }
//! use std::time::Duration;
//!
//! use bobbin::{CallOptions, Channel, Error, RpcError, Server, ServerCall, bthread, error};
//! use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
//!
//! struct Echo;
//!
//! impl EchoService for Echo {
//!     fn echo(&self, cntl: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
//!         bthread::sleep(Duration::from_millis(5));
//!         let attachment = cntl.take_request_attachment();
//!         cntl.response_attachment().append_buf(attachment); // shares the bytes, copies none
//!         Ok(EchoResponse { message: request.message })
//!     }
//! }
//!
//! fn main() -> Result<(), Error> {
//!     let server = Server::builder().add(EchoServer::new(Echo)).start("127.0.0.1:8000")?;
//!
//!     let channel = Channel::builder().timeout(Duration::from_millis(100)).connect("127.0.0.1:8000")?;
//!     let echo = EchoStub::new(&channel);
//!     let request = EchoRequest { message: "hello".into(), sleep_us: None };
//!     let reply = echo.echo(&request)?; // waits
//!     let call = echo.start_echo(&request); // goes on, and waits later; or: .await
//!     assert_eq!(call.join()?, reply);
//!     echo.echo_then(request, |result| println!("{result:?}")); // in a bthread, when it is there
//!
//!     let slow = EchoRequest { message: "slow".into(), sleep_us: Some(500_000) };
//!     let options = CallOptions::default().timeout(Duration::from_millis(1)).log_id(7);
//!     match echo.echo_with(options, &slow) {
//!         Ok(reply) => println!("{} and {} bytes", reply.message.message, reply.attachment.len()),
//!         Err(error) if error.code() == error::ERPCTIMEDOUT => println!("too late"),
//!         Err(error) => println!("{error}"), // brpc's codes, or the handler's own
//!     }
//!
//!     server.run_until_asked_to_quit(); // SIGINT or SIGTERM: answers what has come, and leaves
//!     Ok(())
//! }
//! ```
//!
//! # HTTP
//!
//! The same service answers JSON on the same port, with nothing to be done for it:
//! `curl -d '{"message":"hello"}' http://127.0.0.1:8000/EchoService/Echo`. Plain HTTP is a service of paths and functions
//! ([`http::HttpService`]); bodies may go on after the call, server-sent events among them, and channels fetch
//! ([`http::Fetch`]):
//!
//! ```no_run
//! use bobbin::http::{Event, Fetch, HttpCall, HttpService, Request, Response};
//! use bobbin::{Channel, Error, IoBuf, Server, bthread};
//!
//! fn main() -> Result<(), Error> {
//!     let site = HttpService::new("Site")
//!         .get("/hello", |_| "hello\n")
//!         .post("/echo", |request: Request<IoBuf>| Response::new(request.into_body()))
//!         .route_with_call("/clock", |call, _| {
//!             let Some(events) = call.event_stream() else { return };
//!             bthread::spawn(move || {
//!                 while events.send(&Event::new("tick")).is_ok() {
//!                     bthread::sleep(std::time::Duration::from_secs(1));
//!                 }
//!             });
//!         });
//!     let _server = Server::builder().add(site).start("127.0.0.1:8000")?;
//!
//!     let channel = Channel::builder().protocol("http").connect("127.0.0.1:8000")?;
//!     let response = channel.fetch(Request::get("/hello").body(IoBuf::new()).expect("a path"))?;
//!     println!("{} {:?}", response.status(), response.body().to_vec());
//!     Ok(())
//! }
//! ```
//!
//! # Seeing inside
//!
//! A server shows itself at brpc's paths on its port: `/status`, `/vars`, `/flags`, `/connections`, `/rpcz`, `/fibers`,
//! `/hotspots/cpu`, `/metrics` and more; `/` lists them. By default this machine alone sees them and changes flags through
//! them. [`PageOptions`] opens them or sets a token for changes, and
//! [`internal_port`](rpc::ServerBuilder::internal_port) puts them on a port of their own. A process that only calls has
//! them with [`start_dummy_server_at`].
//!
//! Programs add variables of their own, and take settings from the command line:
//!
//! ```
//! use bobbin::bvar::{Adder, Variable};
//!
//! bobbin::register_flags();
//! let rest = bobbin::bvar::flag::parse_args(["-enable_rpcz=false", "file"])?; // of std::env::args().skip(1)
//! assert_eq!(rest, ["file"]);
//!
//! let orders = Adder::<i64>::new().expose("shop_orders")?; // at /vars/shop_orders and /metrics
//! orders.add(1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`profile`] has the profilers as functions.
//!
//! # Answering later
//!
//! A handler that has its answer from elsewhere need not wait for it: it keeps the [`Responder`], and any thread may
//! send the answer.
//!
//! ```no_run
//! # mod example {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/tests/golden/example.rs"));
//! # }
//! use bobbin::{Error, Responder, Server};
//! use example::{EchoRequest, EchoResponse, EchoServer, EchoServiceAsync};
//!
//! struct Echo;
//!
//! impl EchoServiceAsync for Echo {
//!     fn echo(&self, request: EchoRequest, responder: Responder<EchoResponse>) {
//!         std::thread::spawn(move || responder.send(Ok(EchoResponse { message: request.message })));
//!     }
//! }
//!
//! fn main() -> Result<(), Error> {
//!     let server = Server::builder().add(EchoServer::new_async(Echo)).start("127.0.0.1:8000")?;
//!     server.run_until_asked_to_quit();
//!     Ok(())
//! }
//! ```

#![forbid(unsafe_code)]

pub use bthread;
pub use bvar;
pub use iobuf;
pub use profile;
pub use prost;
pub use prost_types;
pub use protocols;
pub use rpc;

pub use iobuf::IoBuf;
pub use protocols::{http, register_flags, registry};
pub use rpc::{
    BodyReader, Call, CallContext, CallHandle, CallOptions, CancelToken, Endpoint, ErrorCode, Health, Limits,
    MessageSchema, MethodDescriptor, NestedField, PageOptions, ProtoMessage, Reply, RequiredField, Responder,
    RpcError, Schema, ServerCall, Service, ServiceDescriptor, ServiceOptions, Stream, StreamHandler,
    StreamOptions, StreamReader, StreamWriter, Tail, UserFields, ask_to_quit, error, unary, unary_async,
    watch_quit_signals,
};

/// What `main` of a program may return: every error of a server or channel is an [`RpcError`].
pub type Error = RpcError;

/// Starts [a server with the debug pages alone](rpc::server::start_dummy_server_at), for a process that only calls.
/// Returns where it listens. A file `dummy_server.port` in the working directory does the same.
///
/// # Errors
/// As [`rpc::server::start_dummy_server_at`].
pub fn start_dummy_server_at(port: u16) -> Result<Endpoint, Error> {
    rpc::server::start_dummy_server_at::<protocols::Bundled>(port)
}

/// [`rpc::Server`] that speaks all of [`protocols::ALL`] unless its builder is given another registry.
pub type Server = rpc::Server<protocols::Bundled>;

/// [`rpc::Channel`] that can speak any of [`protocols::ALL`] unless its builder is given another registry.
pub type Channel = rpc::Channel<protocols::Bundled>;
