//! Channels and calls: connect on demand, write the request, wait for the reply, try again where that is safe.
//!
//! [`ChannelBuilder`] decides, [`Channel`] calls. A synchronous call (`waiting`) parks until its end; one that is held
//! ([`Call`], or a callback) has a timer. Both wait in the table of their connection (`call_table`), where whoever
//! takes a call out ends it: the reply, the deadline, or the connection's failure.

mod builder;
mod call;
mod call_table;
mod channel;
mod connection;
mod generic;
mod options;
mod outcome;
mod pool;
mod request;
mod single;
mod waiting;
mod way;

pub use builder::{CONNECT_TIMEOUT_DEFAULT, ChannelBuilder, MAX_RETRY_DEFAULT, TIMEOUT_DEFAULT};
pub use call::Call;
pub use channel::Channel;
pub use options::{CallOptions, Reply};
pub use pool::POOLED_CONNECTIONS_MAX;
