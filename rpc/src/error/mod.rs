//! The one error of a call: a number that brpc users know, and a text.
//!
//! Owns [`RpcError`] and how errors of the system become one. It depends on nothing else in this crate and must
//! never log or touch a socket. Which bytes an error becomes is for each protocol to say, in its codec.

mod code;
mod names;

use std::any::Any;
use std::fmt;
use std::io;
use std::sync::Arc;

pub use code::*;
pub use names::{ERROR_CODES_MAX, register_error_code};

/// Bytes that are kept of the texts of earlier attempts.
const EARLIER_TEXT_MAX: usize = 2048;

/// Why a call, a connection, a server or a channel failed: brpc's number (`spec/protocols-baidu.md` §12) and a
/// text for people.
///
/// Cloning shares the text. `Display` prints what brpc's `Controller::ErrorText()` prints, the number in front:
///
/// ```
/// use rpc::{RpcError, error::ERPCTIMEDOUT};
/// let error = RpcError::new(ERPCTIMEDOUT, "Reached timeout=100ms @127.0.0.1:8000");
/// assert_eq!(error.code(), ERPCTIMEDOUT);
/// assert_eq!(error.to_string(), "[E1008]Reached timeout=100ms @127.0.0.1:8000");
/// ```
#[derive(Clone)]
pub struct RpcError {
    code: ErrorCode,
    /// The text begins with a `[E…]` of its own, because it tells of several attempts.
    tagged: bool,
    text: Arc<str>,
    /// What the call went through that ended with it, if it is the end of one.
    report: Option<Arc<dyn Any + Send + Sync>>,
}

/// Number and text are compared; what the call went through is not.
impl PartialEq for RpcError {
    fn eq(&self, other: &Self) -> bool {
        (self.code, self.tagged, &self.text) == (other.code, other.tagged, &other.text)
    }
}

impl Eq for RpcError {}

impl RpcError {
    /// An error with a number and a text. Numbers of one's own are welcome: `RpcError::new(1234, "boom")`; 0 and -1
    /// say nothing and arrive as [`EINTERNAL`] in most protocols.
    pub fn new(code: impl Into<ErrorCode>, text: impl AsRef<str>) -> Self {
        RpcError { code: code.into(), tagged: false, text: text.as_ref().into(), report: None }
    }

    /// [`EINTERNAL`] with a text: the service failed for a reason that is nobody else's business.
    pub fn internal(text: impl AsRef<str>) -> Self {
        Self::new(EINTERNAL, text)
    }

    /// An error that has a text only, as brpc's `SetFailed(text)`: the number is [`ENOCODE`] (-1) here, and what each
    /// protocol makes of that on the wire.
    pub fn uncoded(text: impl AsRef<str>) -> Self {
        Self::new(ENOCODE, text)
    }

    /// The number. Never 0 in an error that this crate made.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// The text without the `[E…]` of its number; after several attempts, the tagged texts of all of them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether brpc's default policy tries such a call again (`spec/rpc-core.md` §10): the failure is the
    /// connection's or the server's momentary state, not the request's.
    pub fn is_retriable(&self) -> bool {
        self.code.is_retriable()
    }

    /// This error with a remark behind its text.
    pub(crate) fn remarked(self, remark: &str) -> RpcError {
        RpcError { text: format!("{} ({remark})", self.text).into(), ..self }
    }

    /// This error as the end of a call that went through all this.
    pub(crate) fn with_report(self, report: Arc<dyn Any + Send + Sync>) -> RpcError {
        RpcError { report: Some(report), ..self }
    }

    /// What the call went through that it is the end of.
    pub(crate) fn report<T: Any>(&self) -> Option<&T> {
        self.report.as_ref()?.downcast_ref()
    }

    /// This error as the latest of several attempts: `[E111]first [R1][E112]second`, as brpc strings them together.
    pub(crate) fn after(self, earlier: Option<RpcError>, attempt: u32) -> RpcError {
        match earlier {
            None if attempt == 0 => self,
            // The one before it has not failed.
            None => RpcError { tagged: true, text: format!("[R{attempt}]{self}").into(), ..self },
            Some(earlier) => {
                let mut text = earlier.to_string();
                if text.len() > EARLIER_TEXT_MAX {
                    let end = (0..=EARLIER_TEXT_MAX).rev().find(|end| text.is_char_boundary(*end));
                    text.truncate(end.unwrap_or(0));
                    text.push_str(" ...");
                }
                RpcError { tagged: true, text: format!("{text} [R{attempt}]{self}").into(), ..self }
            }
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.tagged && self.code != ENOCODE {
            write!(f, "[E{}]", self.code)?;
        }
        f.write_str(&self.text)
    }
}

/// Prints what `main` shows when it returns the error: the number by its name, and the text.
impl fmt::Debug for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.name() {
            Some(name) => write!(f, "{name}: {self}"),
            None => write!(f, "{self}"),
        }
    }
}

impl std::error::Error for RpcError {}

/// The number is the errno where there is one.
impl From<io::Error> for RpcError {
    fn from(error: io::Error) -> Self {
        let code = error.raw_os_error().map_or_else(|| code_of_kind(error.kind()), ErrorCode::new);
        RpcError::new(code, error.to_string())
    }
}

/// As [`RpcError::uncoded`].
impl From<String> for RpcError {
    fn from(text: String) -> Self {
        RpcError::uncoded(text)
    }
}

/// As [`RpcError::uncoded`].
impl From<&str> for RpcError {
    fn from(text: &str) -> Self {
        RpcError::uncoded(text)
    }
}

/// For errors that the standard library made up itself, without a system call.
fn code_of_kind(kind: io::ErrorKind) -> ErrorCode {
    match kind {
        io::ErrorKind::TimedOut => ETIMEDOUT,
        io::ErrorKind::ConnectionRefused => ECONNREFUSED,
        io::ErrorKind::ConnectionReset => ECONNRESET,
        io::ErrorKind::BrokenPipe => EPIPE,
        io::ErrorKind::UnexpectedEof => EEOF,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => EINVAL,
        io::ErrorKind::AddrInUse => EADDRINUSE,
        io::ErrorKind::NotFound => ENOENT,
        _ => EINTERNAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_many_attempts_is_bounded() {
        let one = || RpcError::new(EHOSTDOWN, "nobody ist zu Hause, ä");
        let mut all = one();
        for attempt in 1..10_000 {
            all = one().after(Some(all), attempt);
        }
        assert!(all.text().len() < EARLIER_TEXT_MAX + 100);
        assert!(
            all.text().starts_with("[E112]nobody")
                && all.text().ends_with("[R9999][E112]nobody ist zu Hause, ä")
        );
    }

    #[test]
    fn the_texts_of_attempts_are_strung_together_as_brpc_does() {
        let first = RpcError::new(ECONNREFUSED, "Fail to connect 127.0.0.1:1");
        let second = RpcError::new(EHOSTDOWN, "Not connected").after(Some(first), 1);
        let third = RpcError::new(EHOSTDOWN, "Not connected").after(Some(second), 2);
        assert_eq!(third.code(), EHOSTDOWN);
        let text = "[E111]Fail to connect 127.0.0.1:1 [R1][E112]Not connected [R2][E112]Not connected";
        assert_eq!(third.to_string(), text);
        assert_eq!(third.text(), text);
        let backup = RpcError::new(EHOSTDOWN, "Not connected").after(None, 1);
        assert_eq!(backup.to_string(), "[R1][E112]Not connected");
        assert_eq!(backup.code(), EHOSTDOWN);
    }

    #[test]
    fn an_error_without_a_number_prints_none() {
        assert_eq!(RpcError::from("boom").to_string(), "boom");
    }

    #[test]
    fn system_errors_keep_their_errno() {
        assert_eq!(RpcError::from(io::Error::from_raw_os_error(111)).code(), ECONNREFUSED);
        assert_eq!(RpcError::from(io::Error::other("odd")).code(), EINTERNAL);
    }

    #[test]
    fn only_failures_of_connection_or_server_state_are_retriable() {
        for code in [ECONNREFUSED, EHOSTDOWN, EEOF, ELOGOFF, EOVERCROWDED] {
            assert!(RpcError::new(code, "").is_retriable(), "{code}");
        }
        for code in [ERPCTIMEDOUT, EREQUEST, ENOMETHOD, ECANCELED, ErrorCode::new(1234)] {
            assert!(!RpcError::new(code, "").is_retriable(), "{code}");
        }
    }
}
