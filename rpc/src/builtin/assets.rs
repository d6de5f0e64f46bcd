//! The files that pages load: script, style and icon, kept in the binary and named by their contents, so that browsers may
//! keep them for ever.

use std::hash::Hasher;
use std::sync::LazyLock;

use super::context::PageContext;
use super::page::Page;
use super::reply::PageReply;
use super::request::PageRequest;
use super::write::Url;
use crate::error::ENOMETHOD;

/// A file and its name. The name changes with the contents.
pub(crate) struct Asset {
    stem: &'static str,
    extension: &'static str,
    content_type: &'static str,
    contents: &'static str,
}

/// Where the icon is under its plain name.
pub(crate) const ICON_PATH: &str = "/js/bobbin.svg";

pub(super) static SCRIPT: LazyLock<Named> = LazyLock::new(|| {
    Named::new(Asset {
        stem: "bobbin",
        extension: "js",
        content_type: "text/javascript; charset=utf-8",
        contents: concat!(
            include_str!("assets/page.js"),
            include_str!("assets/chart.js"),
            include_str!("assets/flame.js")
        ),
    })
});
pub(super) static STYLE: LazyLock<Named> = LazyLock::new(|| {
    Named::new(Asset {
        stem: "bobbin",
        extension: "css",
        content_type: "text/css; charset=utf-8",
        contents: include_str!("assets/bobbin.css"),
    })
});
pub(super) static ICON: LazyLock<Named> = LazyLock::new(|| {
    Named::new(Asset {
        stem: "bobbin",
        extension: "svg",
        content_type: "image/svg+xml",
        contents: include_str!("assets/bobbin.svg"),
    })
});

/// An asset under its name with a hash.
pub(super) struct Named {
    asset: Asset,
    hash: String,
    file: String,
}

impl Named {
    fn new(asset: Asset) -> Named {
        // Tells versions of one file apart; nobody else's contents come under these names.
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write(asset.contents.as_bytes());
        let hash = format!("{:016x}", hasher.finish());
        let file = format!("{}-{hash}.{}", asset.stem, asset.extension);
        Named { asset, hash, file }
    }

    /// Where browsers find it.
    pub(super) fn url(&self) -> Url {
        Url::below("/js", &self.file)
    }

    fn reply(&self, request: &PageRequest, is_exact: bool) -> PageReply {
        let etag = format!("\"{}\"", self.hash);
        let is_known = request.if_none_match.as_deref().is_some_and(|known| known.contains(&etag));
        let reply = match is_known {
            true => PageReply::new(self.asset.content_type, "").with_status(304),
            false => PageReply::new(self.asset.content_type, self.asset.contents),
        };
        let keep = if is_exact { "public, max-age=31536000, immutable" } else { "no-cache" };
        reply.with_header("etag", etag).with_header("cache-control", keep)
    }
}

/// `/js`: the assets, by their names with or without the hash.
pub(super) struct Js;

impl Page for Js {
    fn name(&self) -> &'static str {
        "js"
    }

    fn about(&self) -> &'static str {
        "The script, the style and the icon of these pages"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        for named in [&*SCRIPT, &*STYLE, &*ICON] {
            let plain = request.rest.strip_prefix(named.asset.stem).and_then(|rest| rest.strip_prefix('.'));
            if request.rest == named.file {
                return named.reply(request, true);
            }
            if plain == Some(named.asset.extension) {
                return named.reply(request, false);
            }
        }
        PageReply::error(context, request, ENOMETHOD, format!("There is no file {}", request.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::Verb;
    use super::super::tests::{fake_server, get, text_of};
    use super::*;

    /// What one page loads at most, uncompressed.
    const BYTES_MAX: usize = 40 << 10;

    #[test]
    fn files_are_kept_for_ever_under_their_hashes() {
        let server = fake_server();
        let header = |reply: &PageReply, name: &str| {
            let found = reply.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        for (named, content_type) in
            [(&*SCRIPT, "text/javascript"), (&*STYLE, "text/css"), (&*ICON, "image/svg+xml")]
        {
            let target = named.url().to_string();
            let reply = server.ask(&get(&target));
            assert_eq!(reply.status, 200, "{target}");
            assert!(reply.content_type.starts_with(content_type) && !text_of(&reply).is_empty());
            assert!(header(&reply, "cache-control").contains("immutable"));
            let mut again = get(&target);
            again.if_none_match = Some(header(&reply, "etag"));
            let again = server.ask(&again);
            assert!(again.status == 304 && again.body.is_empty());
        }
        let plain = server.ask(&get("/js/bobbin.js"));
        assert_eq!((plain.status, header(&plain, "cache-control").as_str()), (200, "no-cache"));
        assert_eq!(server.ask(&get("/js/bobbin-0000.js")).status, 404);
        assert_eq!(server.ask(&get("/js/../mod.rs")).status, 404);
        let sum: usize = [&*SCRIPT, &*STYLE, &*ICON].iter().map(|named| named.asset.contents.len()).sum();
        assert!(sum < BYTES_MAX, "{sum}");
    }

    /// The files load nothing from elsewhere, make code of no text and put no text in as markup.
    #[test]
    fn files_keep_the_rules() {
        for named in [&*SCRIPT, &*STYLE] {
            for forbidden in [
                "http:",
                "https:",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
                "document.write",
                "@import",
                "url(",
            ] {
                assert!(!named.asset.contents.contains(forbidden), "{}: {forbidden}", named.file);
            }
        }
    }

    #[test]
    fn other_verbs_are_refused() {
        let mut request = get("/js/bobbin.js");
        request.verb = Verb::Other;
        assert_eq!(fake_server().ask(&request).status, 405);
    }
}
