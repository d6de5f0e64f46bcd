//! The answer to a request for a method that its service does not have: the methods that there are
//! (`spec/builtin-services.md` §13). Not a page of its own: it stands where a service is known and a method is not.

use std::fmt::Write as _;

use super::context::PageContext;
use super::frame;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::write::{Attr, Url};
use crate::error::ENOMETHOD;
use crate::service::ServiceDescriptor;

/// Tells which methods a service has. `method` is what was asked for, empty if nothing was.
pub(crate) fn bad_method(
    context: &PageContext<'_>,
    request: &PageRequest,
    service: &ServiceDescriptor,
    method: &str,
) -> PageReply {
    let name = service.short_name();
    let text = match method {
        "" => format!("Missing method name for service={name}."),
        method => format!("Fail to find method={} of service={name}.", one_line(method)),
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
    reply.with_status(404).with_header("x-bd-error-code", ENOMETHOD.to_string()).secured()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ECHO, assert_well_formed, browse, fake_server, get, text_of};
    use super::*;

    #[test]
    fn the_methods_are_listed() {
        let server = fake_server();
        let context =
            PageContext { server: &server, remote: &server.remote, local: &server.local, is_internal: false };
        let reply = bad_method(&context, &get("/EchoService"), &ECHO, "");
        let sample = "[127.0.0.1:8002][E1002]Missing method name for service=EchoService. Available methods are: \n\n\
             rpc Echo (EchoRequest) returns (EchoResponse);\n";
        assert_eq!((reply.status, text_of(&reply).as_str()), (404, sample));
        let reply = bad_method(&context, &browse("/EchoService/x"), &ECHO, "<script>");
        assert!(text_of(&reply).contains("method=&lt;script&gt; of service=EchoService"));
        assert_well_formed(&text_of(&reply));
    }
}
