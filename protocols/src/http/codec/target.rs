//! The request's target in its four forms (RFC 9112 §3.2).

use std::ops::Range;

use http::Method;
use http::uri::Authority;

use super::refusal::Refusal;

/// The longest target: what [`http::Uri`] takes. Longer: 414.
pub(crate) const TARGET_MAX: usize = u16::MAX as usize - 1;

/// A target, as places in its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The host and port of the absolute form: they stand for the `Host` field.
    pub(super) authority: Option<Range<usize>>,
    /// From the `/` to the `?`. Empty stands for `/`. `*` in the asterisk form.
    pub(super) path: Range<usize>,
    /// Behind the `?`.
    pub(super) query: Range<usize>,
}

/// Takes a target apart.
pub(super) fn read(method: &Method, target: &[u8]) -> Result<Target, Refusal> {
    if target.len() > TARGET_MAX {
        return Err(Refusal::new(http::StatusCode::URI_TOO_LONG, "The request target is too long"));
    }
    if *method == Method::CONNECT {
        return Err(Refusal::new(http::StatusCode::NOT_IMPLEMENTED, "CONNECT is for proxies"));
    }
    if !target.iter().all(|byte| is_target_byte(*byte)) {
        return Err(Refusal::bad("A byte that no request target has"));
    }
    if target == b"*" {
        if *method != Method::OPTIONS {
            return Err(Refusal::bad("The target * is for OPTIONS"));
        }
        return Ok(Target { authority: None, path: 0..1, query: 1..1 });
    }
    let is_path = target.first() == Some(&b'/');
    let (authority, rest) = match if is_path { None } else { scheme(target) } {
        None if is_path => (None, 0),
        Some(begin) => {
            let end = target[begin..].iter().position(|byte| matches!(byte, b'/' | b'?'));
            let end = end.map_or(target.len(), |at| begin + at);
            let host = &target[begin..end];
            if host.is_empty() || !is_host(host) || Authority::try_from(host).is_err() {
                return Err(Refusal::bad("The request target has no host"));
            }
            (Some(begin..end), end)
        }
        None => return Err(Refusal::bad("The request target has no form that is known")),
    };
    let mark = target[rest..].iter().position(|byte| *byte == b'?').map(|at| rest + at);
    let path = rest..mark.unwrap_or(target.len());
    Ok(Target { authority, path, query: mark.map_or(target.len(), |at| at + 1)..target.len() })
}

/// Whether this may be the beginning of a target; more bytes may follow. What is no target tells other protocols from
/// this one.
pub(super) fn may_begin(first: u8) -> bool {
    first == b'/' || first == b'*' || first.is_ascii_alphabetic()
}

/// Where the authority begins in the absolute form.
fn scheme(target: &[u8]) -> Option<usize> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let begin = target.get(..scheme.len())?;
        begin.eq_ignore_ascii_case(scheme.as_bytes()).then_some(scheme.len())
    })
}

/// What browsers send besides the characters of RFC 3986 is accepted; `#`, which a target never has, and what would
/// have to be escaped in a page anyway is not.
fn is_target_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b'<' | b'>' | b'`' | b'"')
}

/// Whether this may be a `Host`: a name or address and a port, or nothing. Two hosts in one value, user names and
/// paths are not.
pub(super) fn is_host(value: &[u8]) -> bool {
    let is_host_byte = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':' | b'[' | b']' | b'%' | b'!' | b'$' | b'&')
            || matches!(byte, b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=')
    };
    value.iter().all(is_host_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: Method, target: &str) -> Option<(Option<&str>, &str, &str)> {
        let Target { authority, path, query } = read(&method, target.as_bytes()).ok()?;
        Some((authority.map(|range| &target[range]), &target[path], &target[query]))
    }

    #[test]
    fn the_forms_are_told_apart() {
        assert_eq!(parts(Method::GET, "/a/b?c=d?e"), Some((None, "/a/b", "c=d?e")));
        assert_eq!(parts(Method::GET, "/"), Some((None, "/", "")));
        assert_eq!(parts(Method::GET, "//x"), Some((None, "//x", "")));
        assert_eq!(parts(Method::GET, "HTTP://h:80/a?b"), Some((Some("h:80"), "/a", "b")));
        assert_eq!(parts(Method::GET, "https://h?b"), Some((Some("h"), "", "b")));
        assert_eq!(parts(Method::OPTIONS, "*"), Some((None, "*", "")));
        for bad in ["*", "a", "http://", "http:///a", "http://u@h/", "/#", "/\"", "ftp://h/", "h:80"] {
            assert_eq!(parts(Method::GET, bad), None, "{bad}");
        }
        assert_eq!(parts(Method::CONNECT, "h:80"), None);
    }
}
