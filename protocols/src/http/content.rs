//! What a body is, by its `Content-Type` (`spec/protocols-http.md` §6).

use rpc::message::ContentType;

/// The forms that a message may have in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// brpc's own mapping; also for all types that are not known.
    Json,
    /// Protobuf's canonical mapping.
    ProtoJson,
    /// Protobuf.
    Proto,
    /// Protobuf's text format.
    ProtoText,
}

impl Content {
    /// Of the value of `Content-Type`. `None`: a type that is not known, or none.
    pub(super) fn of(value: &[u8]) -> Option<Self> {
        let prefix = b"application/";
        let (start, kind) = essence(value).split_at_checked(prefix.len())?;
        if !start.eq_ignore_ascii_case(prefix) {
            return None;
        }
        let kinds: [(&[u8], Content); 5] = [
            (b"json", Content::Json),
            (b"proto", Content::Proto),
            (b"x-protobuf", Content::Proto),
            (b"proto-json", Content::ProtoJson),
            (b"proto-text", Content::ProtoText),
        ];
        kinds.into_iter().find(|(name, _)| kind.eq_ignore_ascii_case(name)).map(|(_, content)| content)
    }

    /// The form itself.
    pub(super) fn form(self) -> ContentType {
        match self {
            Content::Json => ContentType::Json,
            Content::ProtoJson => ContentType::ProtoJson,
            Content::Proto => ContentType::Pb,
            Content::ProtoText => ContentType::ProtoText,
        }
    }

    /// What texts of errors call it, as brpc does.
    pub(super) fn name(self) -> &'static str {
        match self {
            Content::Json => "json",
            Content::ProtoJson => "proto-json",
            Content::Proto => "proto",
            Content::ProtoText => "proto-text",
        }
    }
}

/// The type without its parameters.
fn essence(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

/// Whether this is a form that a browser has sent.
pub(super) fn is_form(value: &[u8]) -> bool {
    essence(value).eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_whatever_follows_them() {
        assert_eq!(Content::of(b"application/json"), Some(Content::Json));
        assert_eq!(Content::of(b"Application/JSON; charset=utf-8"), Some(Content::Json));
        assert_eq!(Content::of(b"application/x-protobuf"), Some(Content::Proto));
        assert_eq!(Content::of(b"application/proto;a"), Some(Content::Proto));
        assert_eq!(Content::of(b"application/proto-text"), Some(Content::ProtoText));
        assert_eq!(Content::of(b"application/proto-json"), Some(Content::ProtoJson));
        for other in ["", "application", "application/jsonx", "text/json", "application/", "text/plain"] {
            assert_eq!(Content::of(other.as_bytes()), None, "{other}");
        }
    }
}
