//! The seam: what a wire format is to this crate.
//!
//! A [`Protocol`] is stateless and shared. It opens a [`Codec`] for each connection (bytes to frames, no socket, no
//! clock) and offers a [`ServerSide`] (frame to request, answer to bytes), a [`ClientSide`] (request to bytes, frame
//! to reply), or both. Nothing behind this seam may wait, and nothing in front of it may know a format.

mod client;
mod codec;
mod server;

use std::fmt;

use smallvec::SmallVec;

use crate::error::{EINVAL, RpcError};
use crate::limits::Limits;

pub use crate::span::TraceContext;
pub use crate::stream::{StreamFrame, StreamFrameBody, StreamSide};
pub use client::{ClientSide, IncomingReply, OutgoingRequest};
pub use codec::{Codec, Frame, Parsed, WireError};
pub use server::{
    BodyContext, GenericRequest, IncomingRequest, OutgoingReply, RareRequestInfo, ReplyToken, RequestExtras,
    RequestInfo, ServerSide,
};

/// Which end of a connection a codec reads for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads requests.
    Server,
    /// It reads replies.
    Client,
}

/// How calls share connections (`spec/rpc-core.md` §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionType {
    /// One connection for all calls of a channel, many in flight at a time.
    Single,
    /// One call at a time on a connection, which is kept for the next.
    Pooled,
    /// A connection for each call.
    Short,
}

impl ConnectionType {
    /// brpc's name: `single`, `pooled` or `short`.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionType::Single => "single",
            ConnectionType::Pooled => "pooled",
            ConnectionType::Short => "short",
        }
    }
}

impl std::str::FromStr for ConnectionType {
    type Err = RpcError;

    fn from_str(name: &str) -> Result<Self, RpcError> {
        [ConnectionType::Single, ConnectionType::Pooled, ConnectionType::Short]
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| RpcError::new(EINVAL, format!("Unknown connection_type={name}")))
    }
}

/// A wire format. Implemented once per format by a value without state that is listed in a
/// [`Registry`](crate::Registry).
pub trait Protocol: Send + Sync + 'static {
    /// The name users choose it by, unique in a registry; compared without regard to case.
    fn name(&self) -> &'static str;

    /// A codec for one new connection.
    fn codec(&self, role: Role, limits: &Limits) -> Box<dyn Codec>;

    /// The half that servers use. `None`: servers do not speak it.
    fn server(&self) -> Option<&dyn ServerSide> {
        None
    }

    /// The half that channels use. `None`: channels do not speak it.
    fn client(&self) -> Option<&dyn ClientSide> {
        None
    }

    /// The half that streams use: all its frames belong to them. `None`: none does.
    fn stream(&self) -> Option<&dyn StreamSide> {
        None
    }

    /// The ways in which its calls can share connections, the default one first.
    fn connection_types(&self) -> &'static [ConnectionType];

    /// The protocols whose messages may come between its own on a channel's connection.
    fn companions(&self) -> &'static [&'static dyn Protocol] {
        &[]
    }
}

impl fmt::Debug for dyn Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What becomes of a connection behind a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterReply {
    /// It goes on.
    GoOn,
    /// It is closed when the reply is written.
    Close,
}

/// One side's streams that begin with a call, and what it says of all of them (`spec/protocols-baidu.md` §3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamSettings {
    /// This side's ids, in the order in which they are paired with those of the other side.
    pub ids: SmallVec<[i64; 1]>,
    /// It wants to hear what of its data was consumed.
    pub need_feedback: bool,
    /// It may be written to.
    pub writable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_types_have_brpcs_names() {
        assert_eq!("SINGLE".parse(), Ok(ConnectionType::Single));
        assert_eq!("pooled".parse(), Ok(ConnectionType::Pooled));
        assert_eq!("shor".parse::<ConnectionType>().unwrap_err().code(), EINVAL);
    }
}
