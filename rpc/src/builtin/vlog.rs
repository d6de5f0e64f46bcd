//! `/vlog`: the places in the program that log verbosely. This library has none, which the page says.

use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::PageReply;
use super::request::PageRequest;

pub(super) struct Vlog;

const HEADINGS: [&str; 4] = ["Module", "Current", "Required", "Status"];

impl Page for Vlog {
    fn name(&self) -> &'static str {
        "vlog"
    }

    fn about(&self) -> &'static str {
        "Places that log verbosely (none in this library)"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        match request.is_html() {
            false => PageReply::text(HEADINGS.join(" | ") + "\n"),
            true => frame::page(context, "vlog", "", |html| {
                html.paragraph(
                    "notice",
                    "Nothing in this process logs through verbose levels of this library.",
                );
                html.table(&HEADINGS, |_| {});
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake_server;

    #[test]
    fn the_heading_is_brpcs() {
        assert_eq!(fake_server().text("/vlog"), "Module | Current | Required | Status\n");
        fake_server().html("/vlog");
    }
}
