//! Why a conversion failed, in words for the peer that sent the text.

use std::fmt;

/// Why a conversion between JSON (or text) and protobuf failed. `Display` is one line for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonError {
    /// The schema has no such message, or no messages at all.
    UnknownMessage {
        /// The full name that was asked for.
        message: String,
        /// What is wrong with the schema, if all of it is.
        reason: String,
    },
    /// The text is not JSON (RFC 8259), or not UTF-8.
    Syntax {
        /// Where: an offset in bytes.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A value has another type than its field, or does not fit in it.
    Mismatch {
        /// The full name of the field, or of the message at the top.
        field: String,
        /// What a value has to be.
        expected: &'static str,
    },
    /// A required field is not there.
    MissingRequired {
        /// The full name of the field.
        field: String,
    },
    /// Two members of one `oneof` are there.
    OneofTwice {
        /// The full name of the second one.
        field: String,
    },
    /// Messages lie deeper in one another than [`MAX_RECURSION_DEPTH`](super::MAX_RECURSION_DEPTH).
    TooDeep,
    /// The protobuf bytes are malformed.
    Wire {
        /// Where: an offset in bytes.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Text in a message is not UTF-8.
    NotUtf8 {
        /// The full name of the field.
        field: String,
    },
    /// The message would be larger than 2 GiB, the bound of protobuf.
    TooLarge,
    /// The canonical mapping or the text format could not be read or written.
    Canonical {
        /// What the library says.
        reason: String,
    },
}

impl JsonError {
    pub(super) fn unknown_message(message: &str, reason: &str) -> Self {
        Self::UnknownMessage { message: message.to_owned(), reason: reason.to_owned() }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMessage { message, reason } if reason.is_empty() => {
                write!(f, "no descriptor of message {message}")
            }
            Self::UnknownMessage { message, reason } => {
                write!(f, "no descriptor of message {message}: {reason}")
            }
            Self::Syntax { offset, what } => write!(f, "invalid JSON at byte {offset}: {what}"),
            Self::Mismatch { field, expected } => write!(f, "field {field} has to be {expected}"),
            Self::MissingRequired { field } => write!(f, "required field {field} is missing"),
            Self::OneofTwice { field } => {
                write!(f, "field {field} and another member of its oneof are both there")
            }
            Self::TooDeep => {
                write!(f, "messages nested deeper than {} levels", super::MAX_RECURSION_DEPTH)
            }
            Self::Wire { offset, what } => write!(f, "invalid protobuf at byte {offset}: {what}"),
            Self::NotUtf8 { field } => write!(f, "field {field} is not UTF-8"),
            Self::TooLarge => f.write_str("message larger than 2 GiB"),
            Self::Canonical { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for JsonError {}
