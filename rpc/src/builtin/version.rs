//! `/version`: the version that the user has set, else the names of the services.

use super::context::PageContext;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::sockets::preformatted;

pub(super) struct Version;

impl Page for Version {
    fn name(&self) -> &'static str {
        "version"
    }

    fn about(&self) -> &'static str {
        "The version of this server"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        preformatted(context, request, "version", || one_line(&context.server.version()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake_server;

    #[test]
    fn the_version_is_all_there_is() {
        assert_eq!(fake_server().text("/version"), "echo_demo_1.0");
        assert!(fake_server().html("/brpc.version").contains("echo_demo_1.0"));
    }
}
