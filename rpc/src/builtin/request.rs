//! What a page is asked: a request without the protocol that brought it. Owns the parsing of queries and the rules that
//! tell a browser from a script; must never know a wire format or a server.

use iobuf::IoBuf;

/// Bytes that are read of a query or a form; what is behind them is left out.
pub const QUERY_BYTES_MAX: usize = 64 << 10;
/// Pairs that are kept of a query and of a form together; later ones are left out.
pub const QUERY_PAIRS_MAX: usize = 256;

/// What is to be done with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Show it.
    Get,
    /// Say what `Get` would, without the contents. A page answers as to `Get`; the protocol leaves the contents out.
    Head,
    /// Change something.
    Post,
    /// Anything else, which pages refuse.
    Other,
}

/// For whom a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A browser.
    Html,
    /// A terminal or a script.
    Text,
}

impl Form {
    /// The form by brpc's rule (`spec/builtin-services.md` §1.1): what `?console=` says, else text for whoever sends no
    /// `User-Agent` or is curl.
    pub fn of(query: &Query, user_agent: Option<&str>) -> Form {
        match query.get("console") {
            Some(number) => match number.trim().parse::<i64>() {
                Ok(0) => Form::Html,
                _ => Form::Text,
            },
            None if user_agent.is_none_or(|agent| agent.contains("curl/")) => Form::Text,
            None => Form::Html,
        }
    }
}

/// Pairs of a query string and of a form, percent-decoded. Bytes that are no UTF-8 become U+FFFD.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
    /// The pairs from here on came in a form.
    form_start: usize,
}

impl Query {
    /// The pairs of a raw query, the part of a URL behind `?`. A pair without `=` has an empty value. Reads
    /// [`QUERY_BYTES_MAX`] bytes and keeps [`QUERY_PAIRS_MAX`] pairs.
    pub fn parse(raw: &[u8]) -> Query {
        let mut query = Query::default();
        query.append(raw);
        query.form_start = query.pairs.len();
        query
    }

    /// Adds the pairs of a body of the type `application/x-www-form-urlencoded`, within the same bounds.
    pub fn add_form(&mut self, body: &[u8]) {
        self.append(body);
    }

    fn append(&mut self, raw: &[u8]) {
        let raw = &raw[..raw.len().min(QUERY_BYTES_MAX)];
        let room = QUERY_PAIRS_MAX - self.pairs.len();
        let pairs = form_urlencoded::parse(raw).take(room);
        self.pairs.extend(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())));
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        first(&self.pairs, name)
    }

    /// The first value of this name that came in a form rather than in the URL, which others may see.
    pub fn get_from_form(&self, name: &str) -> Option<&str> {
        first(&self.pairs[self.form_start..], name)
    }

    /// Whether the name is there, with or without a value.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All pairs in their order, those of the form last.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn first<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// A request for a debug page, as a protocol makes it.
#[derive(Debug)]
pub struct PageRequest {
    /// What is to be done.
    pub verb: Verb,
    /// The whole path, percent-decoded, for texts.
    pub path: String,
    /// The path behind the page's name, percent-decoded, without the slash in front.
    pub rest: String,
    /// The pairs of the URL, then those of a form.
    pub query: Query,
    /// For whom to write.
    pub form: Form,
    /// The server's name as the peer put it (`Host`); empty if it did not.
    pub host: String,
    /// The page that made a browser send this, where it says so (`Origin`).
    pub origin: Option<String>,
    /// Another site made a browser send this; see [`is_cross_site`].
    pub is_cross_site: bool,
    /// The token that came with it (`Authorization: Bearer`).
    pub token: Option<String>,
    /// `Accept`, where it was sent.
    pub accept: Option<String>,
    /// `If-None-Match`, where it was sent.
    pub if_none_match: Option<String>,
    /// The body as it came.
    pub body: IoBuf,
}

impl PageRequest {
    /// Whether JSON is wanted: `?format=json`, or `Accept` names it and not HTML.
    pub(crate) fn wants_json(&self) -> bool {
        match self.query.get("format") {
            Some(format) => format == "json",
            None => self
                .accept
                .as_deref()
                .is_some_and(|accept| accept.contains("application/json") && !accept.contains("text/html")),
        }
    }

    pub(crate) fn is_html(&self) -> bool {
        self.form == Form::Html
    }
}

/// Whether a browser sent a request on behalf of another site than the one it goes to: `Sec-Fetch-Site` says anything but
/// `same-origin` or `none`, or the host of `Origin` is not `host`. Another port of the same machine is another site here.
/// Scripts send neither header.
pub fn is_cross_site(sec_fetch_site: Option<&str>, origin: Option<&str>, host: &str) -> bool {
    let fetched_by_others = sec_fetch_site.is_some_and(|site| !matches!(site.trim(), "same-origin" | "none"));
    let from_elsewhere = origin.is_some_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_none_or(|authority| !authority.eq_ignore_ascii_case(host))
    });
    fetched_by_others || from_elsewhere
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_bounded() {
        let mut query = Query::parse(b"a=1&b&c=%3Cb%3E+x&a=2&=v&%zz=%ff");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.get("b"), Some(""));
        assert_eq!(query.get("c"), Some("<b> x"));
        assert_eq!(query.get("%zz"), Some("\u{fffd}"));
        assert!(query.has("b") && !query.has("d"));
        query.add_form(b"token=t&a=3");
        assert_eq!(query.get("token"), Some("t"));
        assert_eq!(query.get_from_form("a"), Some("3"));
        assert_eq!(query.get_from_form("b"), None);
        let many = Query::parse("k=v&".repeat(10_000).as_bytes());
        assert_eq!(many.pairs().count(), QUERY_PAIRS_MAX);
        let long = Query::parse(format!("k={}", "x".repeat(1 << 20)).as_bytes());
        assert_eq!(long.get("k").unwrap().len(), QUERY_BYTES_MAX - 2);
    }

    #[test]
    fn browsers_get_html_and_scripts_get_text() {
        let form = |query: &str, agent| Form::of(&Query::parse(query.as_bytes()), agent);
        assert_eq!(form("", None), Form::Text);
        assert_eq!(form("", Some("curl/8.5.0")), Form::Text);
        assert_eq!(form("", Some("Mozilla/5.0")), Form::Html);
        assert_eq!(form("console=1", Some("Mozilla/5.0")), Form::Text);
        assert_eq!(form("console=0", Some("curl/8.5.0")), Form::Html);
        assert_eq!(form("console=0", None), Form::Html);
        assert_eq!(form("console", None), Form::Text);
    }

    #[test]
    fn other_sites_are_told_from_the_own_one() {
        let table = [
            (None, None, "localhost:8000", false),
            (Some("same-origin"), None, "localhost:8000", false),
            (Some("none"), None, "localhost:8000", false),
            (Some("same-site"), None, "localhost:8000", true),
            (Some("cross-site"), None, "localhost:8000", true),
            (None, Some("http://localhost:8000"), "localhost:8000", false),
            (None, Some("http://LOCALHOST:8000"), "localhost:8000", false),
            (None, Some("http://localhost:9000"), "localhost:8000", true),
            (None, Some("null"), "localhost:8000", true),
            (None, Some(""), "localhost:8000", true),
            (Some("same-origin"), Some("http://evil.example"), "localhost:8000", true),
        ];
        for (site, origin, host, is_cross) in table {
            assert_eq!(is_cross_site(site, origin, host), is_cross, "{site:?} {origin:?} {host}");
        }
    }
}
