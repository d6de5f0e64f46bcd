//! `/protobufs` and `/list`: the services and messages of the user, as their `.proto` files describe them
//! (`spec/builtin-services.md` §13).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prost_reflect::{DescriptorPool, EnumDescriptor, Kind, MessageDescriptor, ServiceDescriptor};
use serde_json::json;

use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::PageReply;
use super::request::PageRequest;
use super::write::{Attr, Url};
use crate::error::ENOMETHOD;

/// Spaces of a level of a definition.
const INDENT: usize = 2;

pub(super) struct Protobufs;

/// `/list`.
pub(super) struct List;

/// Something with a full name.
enum Definition {
    Service(ServiceDescriptor),
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
    /// A service without descriptors: its methods by name.
    Names(&'static crate::service::ServiceDescriptor),
}

impl Page for Protobufs {
    fn name(&self) -> &'static str {
        "protobufs"
    }

    fn about(&self) -> &'static str {
        "List all protobuf services and messages"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let all = definitions(context);
        if !request.rest.is_empty() {
            let Some(definition) = all.get(request.rest.as_str()) else {
                let text = format!("Fail to find any protobuf message by `{}'", request.rest);
                return PageReply::error(context, request, ENOMETHOD, text);
            };
            let text = definition.text();
            return match request.is_html() {
                false => PageReply::text(text),
                true => frame::page(context, "protobuf", "", |html| {
                    html.leaf("h2", "", &request.rest);
                    html.leaf("pre", "", text);
                    html.link(Url::page("/protobufs"), "all services and messages");
                }),
            };
        }
        if request.wants_json() {
            return PageReply::json(&all.keys().cloned().collect());
        }
        if !request.is_html() {
            return PageReply::text(all.keys().fold(String::new(), |out, name| out + name + "\n"));
        }
        frame::page(context, "protobufs", "", |html| {
            html.element("ul", &[Attr::Is("class", "files")], |html| {
                for (name, definition) in &all {
                    html.element("li", &[], |html| {
                        html.link(Url::below("/protobufs", name), name);
                        html.text(" ");
                        html.leaf("small", "", definition.what());
                    });
                }
            });
        })
    }
}

impl Page for List {
    fn name(&self) -> &'static str {
        "list"
    }

    fn about(&self) -> &'static str {
        "Signatures of all methods, as JSON"
    }

    fn serve(&self, context: &PageContext<'_>, _: &PageRequest) -> PageReply {
        let services = context.server.services().into_iter().map(|service| {
            let methods = service.descriptor.methods.iter().map(|method| {
                // A method of plain HTTP has no types.
                match method.request_type {
                    "" => json!({ "name": method.name }),
                    request_type => json!({
                        "name": method.name,
                        "input_type": format!(".{request_type}"),
                        "output_type": format!(".{}", method.response_type),
                    }),
                }
            });
            json!({ "name": service.descriptor.short_name(), "method": methods.collect::<Vec<_>>() })
        });
        PageReply::json(&json!({ "service": services.collect::<Vec<_>>() }))
    }
}

/// All that can be reached from the user's services, by full name.
fn definitions(context: &PageContext<'_>) -> BTreeMap<String, Definition> {
    let mut found = BTreeMap::new();
    for service in context.server.services() {
        let descriptor = service.descriptor;
        let known = descriptor
            .schema
            .pool()
            .and_then(|pool: &DescriptorPool| pool.get_service_by_name(descriptor.full_name));
        let Some(known) = known else {
            found.insert(descriptor.full_name.to_owned(), Definition::Names(descriptor));
            continue;
        };
        // Not by recursion: how deep messages contain each other is up to somebody else.
        let mut open: Vec<MessageDescriptor> =
            known.methods().flat_map(|method| [method.input(), method.output()]).collect();
        found.insert(known.full_name().to_owned(), Definition::Service(known));
        while let Some(message) = open.pop() {
            if found.contains_key(message.full_name()) {
                continue;
            }
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(inner) if !inner.is_map_entry() => open.push(inner),
                    Kind::Message(entry) => match entry.map_entry_value_field().kind() {
                        Kind::Message(value) => open.push(value),
                        Kind::Enum(value) => {
                            found.insert(value.full_name().to_owned(), Definition::Enum(value));
                        }
                        _ => {}
                    },
                    Kind::Enum(inner) => {
                        found.insert(inner.full_name().to_owned(), Definition::Enum(inner));
                    }
                    _ => {}
                }
            }
            found.insert(message.full_name().to_owned(), Definition::Message(message));
        }
    }
    found
}

impl Definition {
    fn what(&self) -> &'static str {
        match self {
            Definition::Service(_) | Definition::Names(_) => "service",
            Definition::Message(_) => "message",
            Definition::Enum(_) => "enum",
        }
    }

    /// The definition as a `.proto` file has it.
    fn text(&self) -> String {
        let mut out = String::new();
        match self {
            Definition::Service(service) => {
                let methods = service.methods().map(|method| {
                    let stream = |is: bool| if is { "stream " } else { "" };
                    format!(
                        "  rpc {}({}.{}) returns ({}.{});\n",
                        method.name(),
                        stream(method.is_client_streaming()),
                        method.input().full_name(),
                        stream(method.is_server_streaming()),
                        method.output().full_name()
                    )
                });
                _ = write!(out, "service {} {{\n{}}}\n", service.name(), methods.collect::<String>());
            }
            Definition::Names(service) => {
                let methods = service.methods.iter().map(|method| {
                    format!(
                        "  rpc {}(.{}) returns (.{});\n",
                        method.name, method.request_type, method.response_type
                    )
                });
                _ = write!(out, "service {} {{\n{}}}\n", service.short_name(), methods.collect::<String>());
            }
            Definition::Message(message) => message_text(message, &mut out),
            Definition::Enum(one) => {
                let values = one.values().map(|value| format!("  {} = {};\n", value.name(), value.number()));
                _ = write!(out, "enum {} {{\n{}}}\n", one.name(), values.collect::<String>());
            }
        }
        out
    }
}

fn message_text(message: &MessageDescriptor, out: &mut String) {
    _ = writeln!(out, "message {} {{", message.name());
    for field in
        message.fields().filter(|field| field.containing_oneof().is_none_or(|one| one.is_synthetic()))
    {
        field_text(&field, INDENT, out);
    }
    for one in message.oneofs().filter(|one| !one.is_synthetic()) {
        _ = writeln!(out, "  oneof {} {{", one.name());
        one.fields().for_each(|field| field_text(&field, 2 * INDENT, out));
        out.push_str("  }\n");
    }
    out.push_str("}\n");
}

fn field_text(field: &prost_reflect::FieldDescriptor, indent: usize, out: &mut String) {
    use prost_reflect::Cardinality;
    let label = match field.cardinality() {
        _ if field.is_map() || field.containing_oneof().is_some_and(|one| !one.is_synthetic()) => "",
        Cardinality::Required => "required ",
        Cardinality::Repeated => "repeated ",
        Cardinality::Optional if field.supports_presence() => "optional ",
        Cardinality::Optional => "",
    };
    let kind = match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => {
            format!(
                "map<{}, {}>",
                kind_text(&entry.map_entry_key_field().kind()),
                kind_text(&entry.map_entry_value_field().kind())
            )
        }
        kind => kind_text(&kind),
    };
    _ = writeln!(out, "{:indent$}{label}{kind} {} = {};", "", field.name(), field.number());
}

fn kind_text(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => format!(".{}", message.full_name()),
        Kind::Enum(one) => format!(".{}", one.full_name()),
        scalar => format!("{scalar:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get, text_of};

    #[test]
    fn services_and_messages_are_listed_and_shown() {
        let server = fake_server();
        assert_eq!(
            server.text("/protobufs"),
            "example.EchoRequest\nexample.EchoResponse\nexample.EchoService\n"
        );
        assert_eq!(
            server.text("/protobufs/example.EchoRequest"),
            "message EchoRequest {\n  required string message = 1;\n  optional int32 sleep_us = 2;\n}\n"
        );
        assert!(server.text("/protobufs/example.EchoService").contains("  rpc Echo(.example.EchoRequest)"));
        let missing = server.ask(&get("/protobufs/no.Such"));
        assert_eq!(missing.status, 404);
        assert_eq!(
            text_of(&missing),
            "[127.0.0.1:8002][E1002]Fail to find any protobuf message by `no.Such'"
        );
        assert!(!text_of(&server.ask(&browse("/protobufs/%3Cscript%3E"))).contains("<script>"));
        assert!(server.html("/protobufs").contains("href=\"/protobufs/example.EchoRequest\""));
        server.html("/protobufs/example.EchoRequest");
    }

    #[test]
    fn the_list_is_the_samples() {
        let list: serde_json::Value = serde_json::from_str(&fake_server().text("/list")).unwrap();
        let sample = r#"{"service":[{"name":"EchoService","method":[{"name":"Echo","input_type":".example.EchoRequest",
            "output_type":".example.EchoResponse"}]}]}"#;
        assert_eq!(list, serde_json::from_str::<serde_json::Value>(sample).unwrap());
    }
}
