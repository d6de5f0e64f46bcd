//! `/badmethod`: where a request for a method that its service does not have is led, to be told which there are
//! (`spec/builtin-services.md` §13).

use std::fmt::Write as _;

use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::write::{Attr, Url};
use crate::error::ENOMETHOD;
use crate::service::ServiceDescriptor;

/// Characters of a path that are shown.
const PATH_SHOWN_MAX: usize = 256;

pub(super) struct BadMethod;

impl Page for BadMethod {
    fn name(&self) -> &'static str {
        "badmethod"
    }

    fn about(&self) -> &'static str {
        "The methods of a service, for who asked for another one"
    }

    /// The rest of the path begins with the name of the service.
    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let (name, method) = request.rest.split_once('/').unwrap_or((&request.rest, ""));
        let services = context.server.services();
        let found = services.iter().map(|service| service.descriptor);
        let found = found.into_iter().find(|known| known.full_name == name || known.short_name() == name);
        match found {
            Some(service) => list(context, request, service, method),
            None => not_found(context, request),
        }
    }
}

/// The answer without a list, for who may not see the pages and for services that there are not.
pub(super) fn not_found(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    PageReply::error(context, request, ENOMETHOD, format!("Fail to find method on `{}'", shown(request)))
}

fn shown(request: &PageRequest) -> String {
    one_line(&request.path.chars().take(PATH_SHOWN_MAX).collect::<String>())
}

fn list(
    context: &PageContext<'_>,
    request: &PageRequest,
    service: &'static ServiceDescriptor,
    method: &str,
) -> PageReply {
    let name = service.short_name();
    let text = match method {
        "" => format!("Missing method name for service={name}."),
        _ => format!("Fail to find method on `{}'.", shown(request)),
    };
    let text = format!("[{}][E{ENOMETHOD}]{text} Available methods are:", context.identity());
    let short = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let reply = if request.is_html() {
        frame::page(context, "no such method", "", |html| {
            html.paragraph("notice bad", &text);
            html.element("ul", &[Attr::Is("class", "files")], |html| {
                for method in service.methods {
                    html.element("li", &[], |html| {
                        html.text("rpc ").text(method.name).text(" (");
                        html.link(Url::below("/protobufs", method.request_type), short(method.request_type));
                        html.text(") returns (");
                        html.link(
                            Url::below("/protobufs", method.response_type),
                            short(method.response_type),
                        );
                        html.text(");");
                    });
                }
            });
        })
    } else {
        let mut out = text + " \n\n";
        for method in service.methods {
            let (request, response) = (short(method.request_type), short(method.response_type));
            _ = writeln!(out, "rpc {} ({request}) returns ({response});", method.name);
        }
        PageReply::text(out)
    };
    reply.with_status(404).with_header("x-bd-error-code", ENOMETHOD.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_well_formed, browse, fake_server, get, text_of};
    use super::super::{Form, PageContext, PageReply, bad_method, serve};
    use crate::transport::Endpoint;

    /// What a request for a service's path gets.
    fn ask(path: &str, form: Form, remote: &str) -> PageReply {
        let server = fake_server();
        let remote = Endpoint::resolve(remote).unwrap();
        let context =
            PageContext { server: &server, remote: &remote, local: &server.local, is_internal: false };
        let mut request = if form == Form::Html { browse(path) } else { get(path) };
        request.rest = request.path.trim_start_matches('/').to_owned();
        serve(bad_method(), &context, &request)
    }

    #[test]
    fn the_methods_are_listed() {
        let reply = ask("/EchoService", Form::Text, "127.0.0.1:1");
        let sample = "[127.0.0.1:8002][E1002]Missing method name for service=EchoService. Available methods are: \n\n\
             rpc Echo (EchoRequest) returns (EchoResponse);\n";
        assert_eq!((reply.status, text_of(&reply).as_str()), (404, sample));
        let reply = ask("/example.EchoService/Nope", Form::Text, "127.0.0.1:1");
        let start = "[127.0.0.1:8002][E1002]Fail to find method on `/example.EchoService/Nope'";
        assert!(text_of(&reply).starts_with(start) && text_of(&reply).contains("rpc Echo ("));
        let reply = ask("/EchoService/%3Cscript%3E", Form::Html, "127.0.0.1:1");
        assert!(text_of(&reply).contains("on `/EchoService/&lt;script&gt;&#39;."));
        assert_well_formed(&text_of(&reply));
    }

    #[test]
    fn others_learn_that_there_is_none_and_no_more() {
        let reply = ask("/EchoService/Nope", Form::Text, "203.0.113.5:1");
        let sample = "[127.0.0.1:8002][E1002]Fail to find method on `/EchoService/Nope'";
        assert_eq!((reply.status, text_of(&reply).as_str()), (404, sample));
    }
}
