//! Channels and calls: connect on demand, write the request, wait for the reply, try again where that is safe.
//!
//! [`ChannelBuilder`] decides, [`Channel`] calls. A synchronous call (`waiting`) parks until its end; one that is held
//! ([`Call`], or a callback) has a timer. Both wait in the table of their connection (`call_table`), where whoever
//! takes a call out ends it: the reply, the deadline, or the connection's failure.
//!
//! A channel's [`way`](way::Way) leads to an [`entry`](entry::Entry) of the process-wide [`map`], which all channels to
//! which it is the same share: it has the connections, and its [`life`] says who may use or make one.

mod builder;
mod call;
mod call_table;
mod channel;
mod connection;
mod connection_flags;
mod entry;
mod generic;
mod life;
#[cfg(test)]
mod life_model;
mod map;
mod options;
mod outcome;
mod pool;
mod request;
mod waiting;
mod way;

pub use builder::{CONNECT_TIMEOUT_DEFAULT, ChannelBuilder, MAX_RETRY_DEFAULT, TIMEOUT_DEFAULT};
pub use call::Call;
pub use channel::Channel;
pub use options::{CallOptions, Reply};

pub(crate) use connection_flags::register_flags;
pub(crate) use map::checked;
