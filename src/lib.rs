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
//! # Deciding about calls
//!
//! A channel's builder decides for all of its calls, [`CallOptions`] for one. What brpc tries again is tried again here,
//! within the deadline and the channel's [`RetryBudget`]; a [`RetryPolicy`] says otherwise. The deadline and the ids of a
//! request go on to the calls that its handler makes ([`CallContext`]).
//!
//! ```
//! # mod example {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/tests/golden/example.rs"));
//! # }
//! # use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
//! # struct Echo;
//! # impl EchoService for Echo {
//! #     fn echo(&self, _: &mut bobbin::ServerCall, request: EchoRequest) -> Result<EchoResponse, bobbin::RpcError> {
//! #         Ok(EchoResponse { message: request.message })
//! #     }
//! # }
//! # let server = bobbin::Server::builder().add(EchoServer::new(Echo)).start("127.0.0.1:0")?;
//! # let address = server.local_addr();
//! use std::time::Duration;
//!
//! use bobbin::error::{ECANCELED, EHTTP};
//! use bobbin::{Attempt, CallOptions, CancelToken, Channel, ChecksumType, CompressType, NeverSent, RetryPolicy};
//!
//! struct AlsoHttp;
//!
//! impl RetryPolicy for AlsoHttp {
//!     fn do_retry(&self, attempt: &Attempt<'_>) -> bool {
//!         attempt.is_retriable() || attempt.error().is_some_and(|error| error.code() == EHTTP)
//!     }
//! }
//!
//! let channel = Channel::builder()
//!     .timeout(Duration::from_secs(1))
//!     .max_retry(2)
//!     .retry_policy(AlsoHttp)
//!     .backup_request(Duration::from_millis(50)) // sent again if there is no answer by then; the first answer counts
//!     .connect(address)?;
//! let echo = EchoStub::new(&channel);
//! let request = EchoRequest { message: "hello".into(), sleep_us: None };
//!
//! let options = CallOptions::default()
//!     .request_compress_type(CompressType::GZIP)
//!     .request_checksum_type(ChecksumType::Crc32c)
//!     .user_field("tenant", "blue")
//!     .retry_policy(NeverSent); // never runs twice
//! let reply = echo.echo_with(options, &request)?;
//! println!("{} after {:?} and {} retries", reply.message.message, reply.latency, reply.retried_count);
//!
//! let token = CancelToken::new(); // ends all calls that it was given to, from anywhere
//! let call = echo.start_echo_with(CallOptions::default().cancel_token(&token), &request);
//! token.cancel();
//! match call.join() {
//!     Ok(_) => println!("was faster"),
//!     Err(error) => assert_eq!(error.code(), ECANCELED),
//! }
//! # Ok::<(), bobbin::Error>(())
//! ```
//!
//! # Deciding about requests
//!
//! Who is let in, how much runs at a time, and what else must be true; refusals are counted by their reason, and what a
//! caller no longer waits for is not run.
//!
//! ```
//! # mod example {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/tests/golden/example.rs"));
//! # }
//! # use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
//! # struct Echo;
//! # impl EchoService for Echo {
//! #     fn echo(&self, _: &mut bobbin::ServerCall, request: EchoRequest) -> Result<EchoResponse, bobbin::RpcError> {
//! #         Ok(EchoResponse { message: request.message })
//! #     }
//! # }
//! use bobbin::error::{EREJECT, ERPCAUTH};
//! use bobbin::{AuthContext, Authenticator, Channel, Endpoint, RpcError, Server, ServerCall};
//!
//! struct Password(&'static str);
//!
//! impl Authenticator for Password {
//!     fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
//!         Ok(self.0.into())
//!     }
//!
//!     fn verify_credential(&self, credential: &[u8], _: &Endpoint) -> Result<AuthContext, RpcError> {
//!         if credential != self.0.as_bytes() {
//!             return Err(RpcError::new(ERPCAUTH, "Wrong password"));
//!         }
//!         Ok(AuthContext { user: "somebody".into(), ..AuthContext::default() })
//!     }
//! }
//!
//! let server = Server::builder()
//!     .add(EchoServer::new(Echo))
//!     .auth(Password("secret")) // one verdict for each connection
//!     .interceptor(|call: &ServerCall| match call.log_id() {
//!         Some(0) => Err(RpcError::new(EREJECT, "not this one")),
//!         _ => Ok(()),
//!     })
//!     .method_max_concurrency("auto") // or a number, "timeout", "unlimited"; see bobbin::limit
//!     .start("127.0.0.1:0")?;
//!
//! let channel = Channel::builder().auth(Password("secret")).connect(server.local_addr())?;
//! EchoStub::new(&channel).echo(&EchoRequest { message: "hello".into(), sleep_us: None })?;
//! # Ok::<(), bobbin::Error>(())
//! ```
//!
//! [`handover`] has a new process take over the ports of the one that serves, without a failed call.
//!
//! # Streams
//!
//! A [`Stream`] carries messages both ways beside the calls of a connection. The caller offers it with a call, the handler
//! accepts it.
//!
//! ```
//! # mod example {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/tests/golden/example.rs"));
//! # }
//! # use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
//! use bobbin::{CallOptions, Channel, RpcError, Server, ServerCall, StreamOptions, bthread};
//!
//! struct Shout;
//!
//! impl EchoService for Shout {
//!     fn echo(&self, call: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
//!         let (reader, writer) = call.accept_stream(StreamOptions::default())?.split();
//!         bthread::spawn(move || -> Result<(), RpcError> {
//!             for message in reader {
//!                 writer.write(message?.to_vec().to_ascii_uppercase())?; // waits while the window is full
//!             }
//!             Ok(()) // the last handle is dropped, and the stream closed
//!         });
//!         Ok(EchoResponse { message: request.message })
//!     }
//! }
//!
//! let server = Server::builder().add(EchoServer::new(Shout)).start("127.0.0.1:0")?;
//! let channel = Channel::builder().connect(server.local_addr())?;
//! let (options, mut stream) = CallOptions::default().open_stream(StreamOptions::default())?;
//! EchoStub::new(&channel).echo_with(options, &EchoRequest { message: "shout".into(), sleep_us: None })?;
//! stream.write("hello")?;
//! assert_eq!(stream.read()?.expect("the stream is open"), "HELLO");
//! stream.close();
//! # Ok::<(), bobbin::Error>(())
//! ```
//!
//! # Handing calls on
//!
//! A [`BaiduMasterService`] takes every baidu_std request as it came, and
//! [`call_generic`](rpc::Channel::call_generic) sends one, so that a proxy decodes nothing:
//!
//! ```
//! # mod example {
//! #     include!(concat!(env!("CARGO_MANIFEST_DIR"), "/codegen/tests/golden/example.rs"));
//! # }
//! # use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};
//! # struct Echo;
//! # impl EchoService for Echo {
//! #     fn echo(&self, _: &mut bobbin::ServerCall, request: EchoRequest) -> Result<EchoResponse, bobbin::RpcError> {
//! #         Ok(EchoResponse { message: request.message })
//! #     }
//! # }
//! # let echo = bobbin::Server::builder().add(EchoServer::new(Echo)).start("127.0.0.1:0")?;
//! # let address = echo.local_addr();
//! use bobbin::{CallOptions, Channel, MasterCall, Server};
//!
//! let behind = Channel::builder().connect(address)?;
//! let proxy = Server::builder()
//!     .baidu_master_service(move |mut call: MasterCall| {
//!         let options = CallOptions::default().request_attachment(call.call_mut().take_request_attachment());
//!         let (encoding, body) = (call.encoding(), call.take_body());
//!         match behind.call_generic(call.service_name(), call.method_name(), encoding, body, options) {
//!             Ok(reply) => {
//!                 call.call_mut().response_attachment().append_buf(reply.attachment);
//!                 call.succeed(&reply.message, reply.encoding);
//!             }
//!             Err(error) => call.fail(error),
//!         }
//!     })
//!     .start("127.0.0.1:0")?;
//! # let channel = Channel::builder().connect(proxy.local_addr())?;
//! # EchoStub::new(&channel).echo(&EchoRequest { message: "hello".into(), sleep_us: None })?;
//! # Ok::<(), bobbin::Error>(())
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
pub use rpc::client::{
    Attempt, Backoff, BackupRequestPolicy, CallReport, NeverSent, RateLimitedBackup, RateLimitedBackupOptions,
};
pub use rpc::limit::ConcurrencyLimiter;
pub use rpc::message::{ChecksumType, CompressType, ContentType, Encoding};
pub use rpc::server::handover;
pub use rpc::stream::TryWriteError;
pub use rpc::transport::{Keepalive, SocketOptions};
pub use rpc::{
    AuthContext, Authenticator, BaiduMasterService, BodyReader, BoundListener, Call, CallContext, CallHandle,
    CallOptions, CancelReason, CancelToken, Endpoint, ErrorCode, Health, Interceptor, Limits, MasterCall,
    MasterOptions, MessageSchema, MethodDescriptor, NestedField, PageOptions, ProtoMessage, Reply,
    RequiredField, Responder, RetryBudget, RetryPolicy, RpcError, RunsOn, Schema, ServerCall, Service,
    ServiceDescriptor, ServiceOptions, Stream, StreamHandler, StreamOptions, StreamReader, StreamWriter,
    Tail, UserFields, ask_to_quit, error, unary, unary_async, watch_quit_signals,
};
pub use rpc::{compress, limit};

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

/// The builder of a [`Server`].
pub type ServerBuilder = rpc::ServerBuilder<protocols::Bundled>;

/// [`rpc::Channel`] that can speak any of [`protocols::ALL`] unless its builder is given another registry.
pub type Channel = rpc::Channel<protocols::Bundled>;

/// The builder of a [`Channel`].
pub type ChannelBuilder = rpc::ChannelBuilder<protocols::Bundled>;
