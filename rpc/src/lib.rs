//! Connections, servers and channels: from calls to connections and back.
//!
//! Knows no wire format: a [`protocol::Protocol`] brings one, and a [`Registry`] is a list of them. Users take the
//! types from the facade crate, which fills in the registry; what generated code needs is re-exported here by name.
//!
//! All code here runs on `bthread`: what is said to block parks the bthread, or blocks the thread outside of bthreads.
#![forbid(unsafe_code)]

pub mod auth;
pub mod body;
pub mod builtin;
pub mod client;
pub mod compress;
pub mod context;
pub mod error;
pub mod json;
pub mod limit;
pub mod limits;
pub mod live;
pub mod message;
pub mod protocol;
pub mod registry;
pub mod schema;
pub mod server;
pub mod service;
pub mod span;
pub mod stream;
pub mod transport;

mod buffers;
mod messenger;
mod process;
mod socket;
mod starting;
mod user_fields;

pub use auth::{AuthContext, Authenticator};
pub use body::BodyReader;
pub use builtin::{Health, PageOptions};
pub use client::{
    Call, CallHandle, CallOptions, CancelToken, Channel, ChannelBuilder, Reply, RetryBudget, RetryPolicy,
};
pub use context::CallContext;
pub use error::{ErrorCode, RpcError};
pub use limits::Limits;
pub use message::{MessageSchema, NestedField, ProtoMessage, RequiredField};
pub use process::register_flags;
pub use registry::{DefaultRegistry, Registry};
pub use schema::Schema;
pub use server::{
    BaiduMasterService, CancelReason, Interceptor, MasterCall, MasterOptions, Responder, RunsOn, Server,
    ServerBuilder, ServerCall, ServiceOptions, Tail, ask_to_quit, unary, unary_async, watch_quit_signals,
};
pub use service::{MethodDescriptor, Service, ServiceDescriptor};
pub use stream::{Stream, StreamHandler, StreamOptions, StreamReader, StreamWriter};
pub use transport::{BoundListener, Endpoint};
pub use user_fields::UserFields;
