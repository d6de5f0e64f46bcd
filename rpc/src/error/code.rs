//! The numbers: brpc's own and the errnos that travel beside them (`spec/protocols-baidu.md` §12). A table, and
//! nothing else. Errnos keep their Linux values on every platform, because they go over the wire.

use std::borrow::Cow;
use std::fmt;

use super::names;

/// The number of an error. 0 is no error and never found in an [`RpcError`](crate::RpcError) of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(i32);

impl ErrorCode {
    /// The code with this number.
    pub const fn new(number: i32) -> Self {
        ErrorCode(number)
    }

    /// The number, as it goes over the wire.
    pub const fn get(self) -> i32 {
        self.0
    }

    /// brpc's or the system's name for it, such as `"ERPCTIMEDOUT"`, or that which
    /// [`register_error_code`](super::register_error_code) has given it; `None` for other numbers.
    pub fn name(self) -> Option<&'static str> {
        let known = KNOWN.iter().find(|known| known.code == self).map(|known| known.name);
        known.or_else(|| names::registered(self).map(|(name, _)| name))
    }

    /// What it means, in a few words: those of this table, of
    /// [`register_error_code`](super::register_error_code), or the system's for an errno; else that it is unknown.
    ///
    /// ```
    /// use rpc::error::{EHOSTDOWN, ErrorCode};
    /// assert_eq!(EHOSTDOWN.description(), "The server is not connected, or none can be used");
    /// assert_eq!(ErrorCode::new(13).description(), "Permission denied");
    /// assert_eq!(ErrorCode::new(54321).description(), "Unknown error 54321");
    /// ```
    pub fn description(self) -> Cow<'static, str> {
        let known = KNOWN.iter().find(|known| known.code == self).map(|known| known.description);
        match known.or_else(|| names::registered(self).map(|(_, description)| description)) {
            Some(description) => Cow::Borrowed(description),
            None => Cow::Owned(names::of_the_system(self)),
        }
    }

    /// Whether brpc's default policy tries calls again that end with it (`spec/rpc-core.md` §10).
    pub fn is_retriable(self) -> bool {
        RETRIABLE.contains(&self)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<i32> for ErrorCode {
    fn from(number: i32) -> Self {
        ErrorCode(number)
    }
}

impl PartialEq<i32> for ErrorCode {
    fn eq(&self, other: &i32) -> bool {
        self.0 == *other
    }
}

/// A row of the table.
pub(super) struct Known {
    pub(super) code: ErrorCode,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
}

macro_rules! codes {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        $(#[doc = concat!($doc, " (", stringify!($number), ").")] pub const $name: ErrorCode = ErrorCode($number);)*
        /// The table.
        pub(super) const KNOWN: &[Known] = &[$(Known { code: $name, name: stringify!($name), description: $doc }),*];
    };
}

codes! {
    ENOCODE = -1, "A failure that was given no number";
    ENOENT = 2, "No such file or entry";
    EBADF = 9, "Writing where nobody reads";
    EAGAIN = 11, "Not now; a stream's window is full";
    EINVAL = 22, "Bytes that no protocol knows, or a wrong argument";
    EPIPE = 32, "Writing to a closed connection";
    ENODATA = 61, "The list of servers is empty";
    EPROTO = 71, "The peer broke the protocol";
    EADDRINUSE = 98, "The address is taken";
    ENETUNREACH = 101, "The network cannot be reached";
    ECONNRESET = 104, "The peer reset the connection";
    ETIMEDOUT = 110, "Connecting took too long";
    ECONNREFUSED = 111, "Nobody listens there";
    EHOSTDOWN = 112, "The server is not connected, or none can be used";
    EHOSTUNREACH = 113, "The host cannot be reached";
    ECANCELED = 125, "The call was cancelled";
    ENOSERVICE = 1001, "The server has no such service";
    ENOMETHOD = 1002, "The service has no such method";
    EREQUEST = 1003, "The request cannot be read";
    ERPCAUTH = 1004, "Authentication was refused";
    ETOOMANYFAILS = 1005, "Too many of the calls inside this one failed";
    EPCHANFINISH = 1006, "A parallel channel ended; never seen by users";
    EBACKUPREQUEST = 1007, "A backup request was sent; seen in traces only";
    ERPCTIMEDOUT = 1008, "The call's deadline passed";
    EFAILEDSOCKET = 1009, "The connection broke during the call";
    EHTTP = 1010, "The HTTP status is not 2xx";
    EOVERCROWDED = 1011, "Too much is waiting to be written to the connection";
    ERTMPPUBLISHABLE = 1012, "The RTMP stream may be published again";
    ERTMPCREATESTREAM = 1013, "The server refused the RTMP stream";
    EEOF = 1014, "The peer closed the connection";
    EUNUSED = 1015, "The connection was not needed any more";
    ESSL = 1016, "TLS failed";
    EH2RUNOUTSTREAMS = 1017, "The HTTP/2 connection has no stream ids left";
    EREJECT = 1018, "Rejected while the cluster recovers";
    EPROGREADTIMEOUT = 1019, "A progressive read was idle for too long";
    EINTERNAL = 2001, "The service failed";
    ERESPONSE = 2002, "The response cannot be written or read";
    ELOGOFF = 2003, "The server is stopping";
    ELIMIT = 2004, "A limit on concurrency was reached";
    ECLOSE = 2005, "This side closed the connection on purpose";
    EITP = 2006, "Reserved";
    ESHUTDOWNWRITE = 2007, "The writing half of the connection is shut down";
    ERDMA = 3001, "An RDMA operation failed";
    ERDMAMEM = 3002, "Memory is not registered for RDMA";
}

/// What brpc's default policy tries again (`spec/rpc-core.md` §10).
const RETRIABLE: &[ErrorCode] = &[
    EFAILEDSOCKET,
    EEOF,
    EHOSTDOWN,
    ELOGOFF,
    ETIMEDOUT,
    ELIMIT,
    ENOENT,
    EPIPE,
    ECONNREFUSED,
    ECONNRESET,
    ENODATA,
    EOVERCROWDED,
    EH2RUNOUTSTREAMS,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_has_two_names() {
        let mut numbers: Vec<_> = KNOWN.iter().map(|known| known.code.get()).collect();
        let all = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all);
    }

    #[test]
    fn names_are_found_by_number() {
        assert_eq!(ErrorCode::new(1008).name(), Some("ERPCTIMEDOUT"));
        assert_eq!(ErrorCode::new(1234).name(), None);
    }
}
