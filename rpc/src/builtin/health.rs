//! `/health`: whether the server feels well (`spec/builtin-services.md` §14). A server that stops does not, nor one that
//! is not ready ([`Server::set_ready`](crate::Server::set_ready)).

use super::context::PageContext;
use super::options::Health as Report;
use super::page::Page;
use super::reply::{PageReply, lines};
use super::request::PageRequest;

pub(super) struct Health;

impl Page for Health {
    fn name(&self) -> &'static str {
        "health"
    }

    // Load balancers ask from other machines.
    fn is_public(&self) -> bool {
        true
    }

    fn about(&self) -> &'static str {
        "Whether the server is well"
    }

    /// The text alone for browsers too: load balancers ask under all kinds of names.
    fn serve(&self, context: &PageContext<'_>, _: &PageRequest) -> PageReply {
        let report = match context.server.options().reporter() {
            _ if context.server.is_stopping() => {
                Report { status: 503, text: "The server is stopping".to_owned() }
            }
            _ if !context.server.is_ready() => {
                Report { status: 503, text: "The server is not ready".to_owned() }
            }
            Some(reporter) => reporter(),
            None => Report { status: 200, text: "OK".to_owned() },
        };
        let status = if (200..600).contains(&report.status) { report.status } else { 500 };
        PageReply::text(lines(&report.text)).with_status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::super::PageOptions;
    use super::super::tests::{browse, fake_server, get, text_of};
    use super::Report;

    #[test]
    fn health_is_ok_or_what_the_reporter_says() {
        let mut server = fake_server();
        let reply = server.ask(&browse("/health"));
        assert_eq!((reply.status, text_of(&reply).as_str()), (200, "OK"));
        assert!(reply.content_type.starts_with("text/plain"));
        server.options = PageOptions::new().health(|| Report { status: 500, text: "disk <full>".to_owned() });
        let reply = server.ask(&get("/health"));
        assert_eq!((reply.status, text_of(&reply).as_str()), (500, "disk <full>"));
        server.options = PageOptions::new().health(|| panic!("on purpose"));
        assert_eq!(server.ask(&get("/health")).status, 500);
        server.options = PageOptions::new();
        server.ready = false;
        assert_eq!(server.ask(&get("/health")).status, 503);
        server.ready = true;
        assert_eq!(server.ask(&get("/health")).status, 200);
        server.stopping = true;
        assert_eq!(server.ask(&get("/health")).status, 503);
    }
}
