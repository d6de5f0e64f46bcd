//! The one writer of HTML. It escapes all text and all values of attributes, closes what it opens, and takes names of
//! elements, attributes and classes only from the program itself; a string of anybody else reaches a page as text, as the
//! value of an attribute, or as a part of a [`Url`]. It must never get a way to write markup.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::clock;

/// What stays as it is in a part of a URL.
const URL_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Elements without contents.
const VOID: &[&str] = &["br", "hr", "img", "input", "link", "meta"];

/// HTML in the making.
pub(crate) struct Html {
    out: String,
}

/// An attribute of an element.
pub(crate) enum Attr<'a> {
    /// Fixed by the program.
    Is(&'static str, &'static str),
    /// With a value from anywhere. Not for addresses and code, see [`Attr::Url`].
    Text(&'static str, &'a dyn Display),
    /// With an address.
    Url(&'static str, Url),
    /// Without a value.
    Flag(&'static str),
}

/// An address of a page of this server.
#[derive(Clone)]
pub(crate) struct Url {
    text: String,
    has_query: bool,
}

impl Url {
    /// The page at a path that the program fixes: `"/vars"`.
    pub(crate) fn page(path: &'static str) -> Url {
        debug_assert!(path.starts_with('/') && !path.starts_with("//"), "an address of this server");
        Url { text: path.to_owned(), has_query: path.contains('?') }
    }

    /// The page, and a part of the path behind it; slashes in the part are escaped too.
    pub(crate) fn below(path: &'static str, part: impl Display) -> Url {
        let mut url = Url::page(path);
        if !url.text.ends_with('/') {
            url.text.push('/');
        }
        _ = write!(url.text, "{}", utf8_percent_encode(&part.to_string(), URL_PART));
        url
    }

    /// One more part of the path.
    pub(crate) fn join(mut self, part: impl Display) -> Url {
        _ = write!(self.text, "/{}", utf8_percent_encode(&part.to_string(), URL_PART));
        self
    }

    /// A pair of the query.
    pub(crate) fn with(mut self, name: &'static str, value: impl Display) -> Url {
        self = self.flag(name);
        _ = write!(self.text, "={}", utf8_percent_encode(&value.to_string(), URL_PART));
        self
    }

    /// A name in the query.
    pub(crate) fn flag(mut self, name: &'static str) -> Url {
        self.text.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.text.push_str(name);
        self
    }
}

impl Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Writes through to the page, escaped.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // Not allowed in HTML, and a danger where the page is saved and printed.
                c if c.is_control() => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

impl Html {
    /// An empty document.
    pub(super) fn document() -> Html {
        Html { out: String::from("<!DOCTYPE html>\n") }
    }

    /// A piece of a page, which scripts put into another one.
    pub(crate) fn fragment() -> Html {
        Html { out: String::new() }
    }

    /// What was written.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// Text.
    pub(crate) fn text(&mut self, text: impl Display) -> &mut Html {
        _ = write!(Escaped(&mut self.out), "{text}"); // a string takes everything
        self
    }

    /// An element and what `inside` writes in it.
    pub(crate) fn element(&mut self, name: &'static str, attrs: &[Attr<'_>], inside: impl FnOnce(&mut Html)) {
        self.open(name, attrs);
        inside(self);
        debug_assert!(!VOID.contains(&name), "{name} has no contents");
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element without contents, `<br>`.
    pub(crate) fn void(&mut self, name: &'static str, attrs: &[Attr<'_>]) {
        debug_assert!(VOID.contains(&name), "{name} has contents");
        self.open(name, attrs);
    }

    fn open(&mut self, name: &'static str, attrs: &[Attr<'_>]) {
        self.out.push('<');
        self.out.push_str(name);
        for attr in attrs {
            self.attribute(attr);
        }
        self.out.push('>');
    }

    fn attribute(&mut self, attr: &Attr<'_>) {
        let (name, value): (&str, &dyn Display) = match attr {
            Attr::Is(name, value) => (name, value),
            Attr::Text(name, value) => {
                let runs =
                    name.starts_with("on") || ["href", "src", "action", "style", "srcdoc"].contains(name);
                assert!(!runs, "{name} takes an address or code, not text");
                (name, value)
            }
            Attr::Url(name, url) => (name, url),
            Attr::Flag(name) => {
                self.out.push(' ');
                self.out.push_str(name);
                return;
            }
        };
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        _ = write!(Escaped(&mut self.out), "{value}");
        self.out.push('"');
    }

    /// An element of a class with nothing but text in it.
    pub(crate) fn leaf(&mut self, name: &'static str, class: &'static str, text: impl Display) {
        let attrs: &[_] = if class.is_empty() { &[] } else { &[Attr::Is("class", class)] };
        self.element(name, attrs, |html| _ = html.text(text));
    }

    /// A paragraph.
    pub(crate) fn paragraph(&mut self, class: &'static str, text: impl Display) {
        self.leaf("p", class, text);
    }

    /// A link.
    pub(crate) fn link(&mut self, url: Url, text: impl Display) {
        self.element("a", &[Attr::Url("href", url)], |html| _ = html.text(text));
    }

    /// A table with these headings that can be sorted; `rows` writes the rows.
    pub(crate) fn table(&mut self, headings: &[&str], rows: impl FnOnce(&mut Html)) {
        self.element("div", &[Attr::Is("class", "scroll")], |html| {
            html.element("table", &[Attr::Is("class", "sortable")], |html| {
                html.element("thead", &[], |html| {
                    html.row(|html| headings.iter().for_each(|heading| html.leaf("th", "", heading)));
                });
                html.element("tbody", &[], rows);
            });
        });
    }

    /// A row of a table; `cells` writes the cells.
    pub(crate) fn row(&mut self, cells: impl FnOnce(&mut Html)) {
        self.element("tr", &[], cells);
        self.out.push('\n');
    }

    /// A cell with text.
    pub(crate) fn cell(&mut self, text: impl Display) {
        self.leaf("td", "", text);
    }

    /// A cell with a number.
    pub(crate) fn number(&mut self, number: impl Display) {
        self.leaf("td", "n", number);
    }

    /// A cell with a length of time, sorted by how long it is.
    pub(crate) fn length(&mut self, time: Duration) {
        let attrs = [Attr::Is("class", "n"), Attr::Text("data-sort", &time.as_micros())];
        self.element("td", &attrs, |html| _ = html.text(clock::length(time)));
    }

    /// A cell with a link.
    pub(crate) fn link_cell(&mut self, url: Url, text: impl Display) {
        self.element("td", &[], |html| html.link(url, text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_well_formed;
    use super::*;

    const EVIL: &str = "\"'><script>alert(1)</script>&amp;\0\u{1b}";

    #[test]
    fn everything_is_escaped() {
        let mut html = Html::fragment();
        html.element("div", &[Attr::Text("title", &EVIL), Attr::Is("class", "a")], |html| {
            html.text(EVIL);
            html.link(Url::below("/vars", EVIL).with("x", EVIL), EVIL);
            html.table(&["A"], |html| html.row(|html| html.cell(EVIL)));
            html.void("input", &[Attr::Text("value", &EVIL), Attr::Flag("required")]);
        });
        let text = html.finish();
        assert!(!text.contains("<script"), "{text}");
        assert!(
            text.contains("&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;\u{fffd}\u{fffd}")
        );
        assert!(text.contains("href=\"/vars/%22%27%3E%3Cscript"));
        assert_well_formed(&text);
    }

    #[test]
    #[should_panic(expected = "href takes an address")]
    fn text_is_no_address() {
        Html::fragment().void("link", &[Attr::Text("href", &"javascript:alert(1)")]);
    }

    #[test]
    fn parts_of_urls_stay_parts() {
        assert_eq!(Url::below("/vars", "a/../b?c#d").to_string(), "/vars/a%2F..%2Fb%3Fc%23d");
        assert_eq!(Url::page("/index?as_more").with("a", "1&b=2").to_string(), "/index?as_more&a=1%26b%3D2");
        assert_eq!(Url::below("/dir", "/etc").join("x y").to_string(), "/dir/%2Fetc/x%20y");
    }
}
