//! How long a message's body is (RFC 9112 §6): the place where servers that disagree can be made to see different
//! messages in the same bytes. What is not plain is refused rather than guessed at.

use http::{StatusCode, Version};

use super::fields::{Fields, elements};
use super::refusal::Refusal;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// After so many bytes; 0 also for messages that have no body.
    Sized(u64),
    /// With a chunk of size 0.
    Chunked,
    /// With the connection. Responses only.
    UntilEof,
}

/// What the fields say about the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    length: Option<u64>,
    is_chunked: bool,
    /// Codings other than chunked, which nobody here can undo.
    has_other_codings: bool,
    ends_chunked: bool,
}

impl Declared {
    /// Reads `Content-Length` and `Transfer-Encoding`. `same_lengths`: the same length said twice is accepted, as
    /// many servers of old do.
    pub(super) fn read(fields: &Fields, same_lengths: bool) -> Result<Self, Refusal> {
        let mut declared = Declared::default();
        for (name, value) in fields.iter() {
            match name.len() {
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    let length = number(value).ok_or(Refusal::bad("Content-Length is no number"))?;
                    match declared.length {
                        Some(before) if !same_lengths || before != length => {
                            return Err(Refusal::bad("More than one Content-Length"));
                        }
                        _ => declared.length = Some(length),
                    }
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => declared.codings(value)?,
                _ => {}
            }
        }
        Ok(declared)
    }

    fn codings(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let mut any = false;
        for coding in elements(value) {
            any = true;
            self.ends_chunked = coding.eq_ignore_ascii_case(b"chunked");
            if self.ends_chunked && self.is_chunked {
                return Err(Refusal::bad("chunked twice"));
            }
            self.is_chunked |= self.ends_chunked;
            self.has_other_codings |= !self.ends_chunked;
        }
        if any { Ok(()) } else { Err(Refusal::bad("Transfer-Encoding names no coding")) }
    }

    fn has_codings(self) -> bool {
        self.is_chunked || self.has_other_codings
    }

    /// That of a request. `allow_both`: `Transfer-Encoding` wins over `Content-Length` instead of being refused with
    /// it; the connection must not be used any more then, which the second value says.
    pub(super) fn of_request(
        self,
        version: Version,
        allow_both: bool,
    ) -> Result<(BodyLength, bool), Refusal> {
        if !self.has_codings() {
            return Ok((BodyLength::Sized(self.length.unwrap_or(0)), false));
        }
        if version == Version::HTTP_10 {
            return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
        }
        if self.length.is_some() && !allow_both {
            return Err(Refusal::bad("Transfer-Encoding and Content-Length"));
        }
        if !self.ends_chunked {
            return Err(Refusal::bad("The last transfer coding is not chunked"));
        }
        if self.has_other_codings {
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "A transfer coding that is not supported"));
        }
        Ok((BodyLength::Chunked, self.length.is_some()))
    }

    /// That of a response that has a body at all.
    pub(super) fn of_response(self, version: Version, allow_both: bool) -> Result<BodyLength, Refusal> {
        match self.length {
            _ if self.has_codings() => {
                if version == Version::HTTP_10 {
                    return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
                }
                if self.length.is_some() && !allow_both {
                    return Err(Refusal::bad("Transfer-Encoding and Content-Length"));
                }
                if self.has_other_codings {
                    return Err(Refusal::bad("A transfer coding that is not supported"));
                }
                Ok(BodyLength::Chunked)
            }
            Some(length) => Ok(BodyLength::Sized(length)),
            None => Ok(BodyLength::UntilEof),
        }
    }
}

/// A decimal number that fits: digits only, without sign, blank or list.
pub(crate) fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits() {
        assert_eq!(number(b"0"), Some(0));
        assert_eq!(number(b"007"), Some(7));
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "18446744073709551616", "+1", "-1", "1 ", "0x1", "1,1", "1.0", "\u{662}"] {
            assert_eq!(number(bad.as_bytes()), None, "{bad}");
        }
    }
}
