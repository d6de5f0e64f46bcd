//! The end of a held call, on its way to whoever reads the response out of it.

use iobuf::IoBuf;

use super::held::HeldCall;
use super::options::Reply;
use super::request::{Answer, Progress, Request};
use crate::error::RpcError;
use crate::message::ProtoMessage;

/// What a call ended with.
pub(super) struct Ended {
    pub(super) result: Result<Answer, RpcError>,
    pub(super) progress: Progress,
}

impl Ended {
    /// Reads the response message.
    pub(super) fn read<T: ProtoMessage>(self, call: &HeldCall) -> Result<Reply<T>, RpcError> {
        match self.result {
            Ok(answer) => call.request.read(&call.channel, answer, self.progress),
            Err(error) => Err(call.request.fail(&call.channel, self.progress, error)),
        }
    }

    /// The response as it came.
    pub(super) fn read_raw(self, call: &HeldCall) -> Result<Reply<IoBuf>, RpcError> {
        match self.result {
            Ok(answer) => Ok(Request::read_raw(answer, self.progress)),
            Err(error) => Err(call.request.fail(&call.channel, self.progress, error)),
        }
    }
}

/// Gets the end of a call, in a bthread of its own.
pub(super) type Callback = Box<dyn FnOnce(&HeldCall, Ended) + Send>;
