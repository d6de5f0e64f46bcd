//! `/sockets`: everything about one connection (`spec/builtin-services.md` §12).

use std::fmt::Write as _;

use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{PageReply, lines};
use super::request::PageRequest;
use super::write::{Attr, Html, Url};
use crate::error::ENOMETHOD;

pub(super) struct Sockets;

impl Page for Sockets {
    fn name(&self) -> &'static str {
        "sockets"
    }

    fn about(&self) -> &'static str {
        "Check the state of a socket"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        if request.rest.is_empty() {
            let (count, max) = context.server.socket_counts();
            return preformatted(context, request, "sockets", || {
                format!("# Use /sockets/<SocketId>\nitem_num: {count}\nitem_max: {max}\n")
            });
        }
        let Ok(id) = request.rest.parse() else {
            let text = format!("path={} is not a SocketId", request.rest);
            return PageReply::error(context, request, ENOMETHOD, text);
        };
        preformatted(context, request, "sockets", || match context.server.socket(id) {
            None => format!("SocketId={id} is invalid or recycled"),
            Some(pairs) => pairs.iter().fold(String::new(), |mut out, (name, value)| {
                _ = writeln!(out, "{name}={}", lines(value));
                out
            }),
        })
    }
}

/// The same text for both forms; a browser gets it in a frame.
pub(super) fn preformatted(
    context: &PageContext<'_>,
    request: &PageRequest,
    title: &str,
    text: impl FnOnce() -> String,
) -> PageReply {
    let text = text();
    match request.is_html() {
        false => PageReply::text(text),
        true => frame::page(context, title, "", |html| html.leaf("pre", "", text)),
    }
}

/// A form with one field whose value becomes the last part of the path.
pub(super) fn jump(html: &mut Html, path: &'static str, placeholder: &'static str) {
    let action = Attr::Url("action", Url::page(path));
    html.element("form", &[Attr::Is("class", "tools"), Attr::Flag("data-jump"), action], |html| {
        let attrs = [
            Attr::Is("name", "id"),
            Attr::Is("placeholder", placeholder),
            Attr::Is("aria-label", placeholder),
        ];
        html.void("input", &attrs);
        html.element("button", &[], |html| _ = html.text("Show"));
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get, text_of};

    #[test]
    fn ids_lead_to_dumps() {
        let server = fake_server();
        assert_eq!(server.text("/sockets"), "# Use /sockets/<SocketId>\nitem_num: 13\nitem_max: 1048576\n");
        assert_eq!(server.text("/sockets/171"), "version=0\nremote_side=127.0.0.1:41270\n");
        assert_eq!(server.text("/sockets/5"), "SocketId=5 is invalid or recycled");
        let bad = server.ask(&get("/sockets/abc"));
        assert_eq!(
            (bad.status, text_of(&bad).as_str()),
            (404, "[127.0.0.1:8002][E1002]path=abc is not a SocketId")
        );
        assert!(!text_of(&server.ask(&browse("/sockets/%3Cscript%3E"))).contains("<script>"));
        assert!(server.html("/sockets/171").contains("remote_side=127.0.0.1:41270"));
    }
}
