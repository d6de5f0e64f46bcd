//! The methods that a connection's first bytes may begin with (`spec/protocols-http.md` §7).
//!
//! They tell HTTP from the other protocols of a port, so this is a list and not a rule.

/// What the first bytes of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// A method of the list and the blank behind it.
    Known,
    /// Part of a method of the list.
    Partial,
    /// Something else.
    Unknown,
}

const METHODS: &[&str] = &[
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "COPY",
    "LOCK",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "SEARCH",
    "UNLOCK",
    "REPORT",
    "MKACTIVITY",
    "CHECKOUT",
    "MERGE",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "PURGE",
    "MKCALENDAR",
];

/// The longest of the list, and the blank behind it.
pub(super) const METHOD_MAX: usize = 12;

/// Looks at the first [`METHOD_MAX`] bytes of a request, or as many as there are.
pub(super) fn beginning(bytes: &[u8]) -> Beginning {
    if bytes.starts_with(b"GET ") || bytes.starts_with(b"POST ") {
        return Beginning::Known;
    }
    let fits = |method: &&str| method.as_bytes().starts_with(bytes) || is_method(bytes, method);
    match METHODS.iter().find(|method| fits(method)) {
        None => Beginning::Unknown,
        Some(method) if is_method(bytes, method) => Beginning::Known,
        Some(_) => Beginning::Partial,
    }
}

fn is_method(bytes: &[u8], method: &str) -> bool {
    bytes.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_known_by_their_first_bytes() {
        for method in METHODS {
            assert!(method.len() < METHOD_MAX);
            assert_eq!(beginning(format!("{method} /").as_bytes()), Beginning::Known, "{method}");
            for end in 1..=method.len() {
                assert_eq!(beginning(&method.as_bytes()[..end]), Beginning::Partial, "{method} {end}");
            }
        }
        for other in ["PRI * HTTP/2.", "PRPC", "get /", "GETT", "G\0", " ", "*1\r\n", "GET\t/"] {
            assert_eq!(beginning(other.as_bytes()), Beginning::Unknown, "{other}");
        }
    }
}
