//! The frame of an HTML page: head, tabs, contents. Owns how all pages look alike; must never know what is in one.

use super::assets;
use super::context::PageContext;
use super::reply::{HTML, PageReply};
use super::write::{Attr, Html, Url};

/// The tabs in brpc's order, then ours: the path, the name.
const TABS: &[(&str, &str)] = &[
    ("/status", "status"),
    ("/vars", "vars"),
    ("/connections", "connections"),
    ("/flags", "flags"),
    ("/rpcz", "rpcz"),
    ("/fibers", "fibers"),
    ("/blocked", "blocked"),
    ("/hotspots/cpu", "cpu"),
    ("/hotspots/heap", "heap"),
    ("/hotspots/growth", "growth"),
    ("/hotspots/contention", "contention"),
    ("/hotspots/offcpu", "offcpu"),
    ("/index?as_more", "more"),
];

/// A whole page. `title` is shown in front of the contents, `tab` is the path of the tab that is marked.
pub(crate) fn page(
    context: &PageContext<'_>,
    title: &str,
    tab: &str,
    contents: impl FnOnce(&mut Html),
) -> PageReply {
    let mut html = Html::document();
    html.element("html", &[Attr::Is("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.void("meta", &[Attr::Is("charset", "utf-8")]);
            html.void(
                "meta",
                &[Attr::Is("name", "viewport"), Attr::Is("content", "width=device-width, initial-scale=1")],
            );
            html.element("title", &[], |html| _ = html.text(title).text(" · ").text(context.identity()));
            html.void("link", &[Attr::Is("rel", "icon"), Attr::Url("href", assets::ICON.url())]);
            html.void("link", &[Attr::Is("rel", "stylesheet"), Attr::Url("href", assets::STYLE.url())]);
            html.element("script", &[Attr::Url("src", assets::SCRIPT.url()), Attr::Flag("defer")], |_| {});
        });
        html.element("body", &[], |html| {
            html.element("header", &[], |html| {
                html.element("a", &[Attr::Is("class", "brand"), Attr::Url("href", Url::page("/"))], |html| {
                    html.leaf("b", "", "bobbin");
                    html.leaf("span", "", context.identity());
                });
                html.element("nav", &[], |html| {
                    for (path, name) in TABS {
                        let is_here = path == &tab;
                        let mut attrs = vec![Attr::Url("href", Url::page(path))];
                        attrs.extend(is_here.then_some(Attr::Is("aria-current", "page")));
                        html.element("a", &attrs, |html| _ = html.text(name));
                    }
                });
            });
            html.element("main", &[], |html| {
                html.leaf("h1", "", title);
                contents(html);
            });
        });
    });
    PageReply::new(HTML, html.finish())
}
