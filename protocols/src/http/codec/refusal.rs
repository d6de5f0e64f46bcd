//! What a codec answers by itself, before it closes: the request cannot be read, so no service can.

use http::StatusCode;
use iobuf::IoBuf;
use rpc::protocol::WireError;

use super::write::HeadWriter;

/// Why a message is refused, and with which status a server says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: WireError,
}

impl Refusal {
    /// 400: the message breaks the format.
    pub(super) const fn bad(how: &'static str) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, how)
    }

    /// Another status.
    pub(super) const fn new(status: StatusCode, how: &'static str) -> Self {
        Refusal { status, error: WireError::Malformed(how) }
    }

    /// 413.
    pub(super) const fn too_large(declared: u64, limit: usize) -> Self {
        Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, error: WireError::TooBig { declared, limit } }
    }

    /// What the connection ends with.
    pub(super) fn error(self) -> WireError {
        self.error
    }

    /// The answer as bytes.
    pub(super) fn answer(self) -> IoBuf {
        let mut head = HeadWriter::new(http::Version::HTTP_11, self.status);
        head.length(0);
        head.date();
        head.field("Connection", b"close");
        let mut out = IoBuf::new();
        head.finish(&mut out);
        out
    }
}
