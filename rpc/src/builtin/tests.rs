//! A server that is none, requests for it, and a check that HTML is well-formed: for the tests of all pages.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use iobuf::IoBuf;

use super::*;
use crate::limits::Limits;
use crate::schema::Schema;
use crate::service::{MethodDescriptor, ServiceDescriptor};
use crate::transport::Endpoint;

/// A GET of a path with a query, as curl sends it.
pub(super) fn get(target: &str) -> PageRequest {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let rest = find(&path).map(|(_, rest)| rest.to_owned()).unwrap_or_default();
    PageRequest {
        verb: Verb::Get,
        path,
        rest,
        query: Query::parse(query.as_bytes()),
        form: Form::Text,
        host: "127.0.0.1:8002".to_owned(),
        origin: None,
        is_cross_site: false,
        token: None,
        accept: None,
        if_none_match: None,
        body: IoBuf::new(),
    }
}

/// The same, as a browser sends it.
pub(super) fn browse(target: &str) -> PageRequest {
    PageRequest { form: Form::Html, ..get(target) }
}

/// The echo service of the samples, with the descriptors of its messages.
pub(super) static ECHO: LazyLock<&'static ServiceDescriptor> = LazyLock::new(|| {
    use prost::Message as _;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
    };
    let field = |name: &str, number, label: Label, kind: Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    let message =
        |name: &str, field| DescriptorProto { name: Some(name.to_owned()), field, ..Default::default() };
    let text = field("message", 1, Label::Required, Type::String);
    let sleep = field("sleep_us", 2, Label::Optional, Type::Int32);
    let file = FileDescriptorProto {
        name: Some("echo.proto".to_owned()),
        package: Some("example".to_owned()),
        message_type: vec![
            message("EchoRequest", vec![text.clone(), sleep]),
            message("EchoResponse", vec![text]),
        ],
        service: vec![ServiceDescriptorProto {
            name: Some("EchoService".to_owned()),
            method: vec![MethodDescriptorProto {
                name: Some("Echo".to_owned()),
                input_type: Some(".example.EchoRequest".to_owned()),
                output_type: Some(".example.EchoResponse".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let encoded: &'static [u8] = FileDescriptorSet { file: vec![file] }.encode_to_vec().leak();
    let schema: &'static Schema = Box::leak(Box::new(Schema::new(encoded)));
    let method = MethodDescriptor {
        name: "Echo",
        full_name: "example.EchoService.Echo",
        request_type: "example.EchoRequest",
        response_type: "example.EchoResponse",
        schema,
    };
    let methods: &'static [_] = vec![method].leak();
    Box::leak(Box::new(ServiceDescriptor { full_name: "example.EchoService", methods, schema }))
});

/// What the tests decide about it.
pub(super) struct FakeServer {
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) internal: Option<Endpoint>,
    pub(super) options: PageOptions,
    pub(super) version: String,
    pub(super) paths: Vec<String>,
    pub(super) variables: String,
    pub(super) connections: Vec<ConnectionInfo>,
    pub(super) channels: Vec<ConnectionInfo>,
    pub(super) stopping: bool,
    pub(super) ready: bool,
}

pub(super) fn fake_server() -> FakeServer {
    FakeServer {
        local: Endpoint::resolve("127.0.0.1:8002").unwrap(),
        remote: Endpoint::resolve("127.0.0.1:41248").unwrap(),
        internal: None,
        options: PageOptions::new(),
        version: "echo_demo_1.0".to_owned(),
        paths: Vec::new(),
        variables: "rpc_server_8002_example_echo_service_echo".to_owned(),
        connections: Vec::new(),
        channels: Vec::new(),
        stopping: false,
        ready: true,
    }
}

impl FakeServer {
    /// Asks for a page as connections do.
    pub(super) fn ask(&self, request: &PageRequest) -> PageReply {
        let context =
            PageContext { server: self, remote: &self.remote, local: &self.local, is_internal: false };
        let (id, _) = find(&request.path).expect("a page has this path");
        serve(id, &context, request)
    }

    /// The text of a page for curl.
    pub(super) fn text(&self, target: &str) -> String {
        text_of(&self.ask(&get(target)))
    }

    /// The HTML of a page, which is checked.
    pub(super) fn html(&self, target: &str) -> String {
        let reply = self.ask(&browse(target));
        assert!(reply.content_type.starts_with("text/html"), "{target}: {}", reply.content_type);
        let text = text_of(&reply);
        assert_well_formed(&text);
        text
    }
}

pub(super) fn text_of(reply: &PageReply) -> String {
    String::from_utf8(reply.body.to_vec()).expect("a page is UTF-8")
}

impl ServerView for FakeServer {
    fn listening(&self) -> &Endpoint {
        &self.local
    }
    fn internal(&self) -> Option<&Endpoint> {
        self.internal.as_ref()
    }
    fn options(&self) -> &PageOptions {
        &self.options
    }
    fn version(&self) -> String {
        self.version.clone()
    }
    fn started(&self) -> SystemTime {
        SystemTime::now() - Duration::from_secs(64)
    }
    fn is_ready(&self) -> bool {
        self.ready
    }

    fn is_stopping(&self) -> bool {
        self.stopping
    }
    fn connection_count(&self) -> usize {
        self.connections.len()
    }
    fn max_connections(&self) -> usize {
        1 << 20
    }
    fn concurrency(&self) -> usize {
        0
    }
    fn max_concurrency(&self) -> usize {
        1000
    }
    fn non_service_errors(&self) -> i64 {
        0
    }
    fn limits(&self) -> Limits {
        Limits::default()
    }
    fn protocols(&self) -> Vec<&'static str> {
        vec!["baidu_std", "http"]
    }
    fn services(&self) -> Vec<ServiceInfo> {
        let methods = ECHO.methods.iter().map(|descriptor| MethodInfo {
            descriptor,
            paths: self.paths.clone(),
            variables: self.variables.clone(),
            max_concurrency: Some(12),
        });
        vec![ServiceInfo { descriptor: *ECHO, methods: methods.collect() }]
    }
    fn connections(&self, max: usize) -> Vec<ConnectionInfo> {
        self.connections.iter().take(max).cloned().collect()
    }
    fn channel_connections(&self, max: usize) -> (Vec<ConnectionInfo>, usize) {
        (self.channels.iter().take(max).cloned().collect(), self.channels.len())
    }
    fn socket(&self, id: u64) -> Option<Vec<(&'static str, String)>> {
        (id == 171).then(|| vec![("version", "0".to_owned()), ("remote_side", "127.0.0.1:41270".to_owned())])
    }
    fn socket_counts(&self) -> (usize, usize) {
        (13, 1 << 20)
    }
    fn transport_security(&self) -> String {
        "none".to_owned()
    }
}

/// Elements are closed in their order, attributes are quoted, nothing runs, and no `<` or `&` stands alone.
pub(super) fn assert_well_formed(html: &str) {
    const VOID: &[&str] = &["br", "hr", "img", "input", "link", "meta"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").unwrap_or(html);
    while let Some(start) = rest.find('<') {
        assert_text(&rest[..start]);
        rest = &rest[start + 1..];
        let name_end = rest.find([' ', '>']).expect("an element ends");
        let name = &rest[..name_end];
        rest = &rest[name_end..];
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "closed in the order of opening");
            rest = rest.strip_prefix('>').expect("a closing element has no attributes");
            continue;
        }
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric()), "<{name}>");
        let mut has_source = false;
        while let Some(attribute) = rest.strip_prefix(' ') {
            let end = attribute.find(['=', ' ', '>']).expect("an attribute ends");
            let attribute_name = &attribute[..end];
            assert!(
                attribute_name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'),
                "{attribute_name}"
            );
            assert!(
                !attribute_name.starts_with("on") && attribute_name != "style",
                "inline code: {attribute_name}"
            );
            has_source |= attribute_name == "src";
            rest = &attribute[end..];
            if let Some(value) = rest.strip_prefix("=\"") {
                let end = value.find('"').expect("a value ends");
                assert!(!value[..end].contains(['<', '>', '\'']), "{}", &value[..end]);
                assert_text(&value[..end]);
                if ["href", "src", "action"].contains(&attribute_name) {
                    assert!(
                        value.starts_with('/') && !value.starts_with("//"),
                        "an address elsewhere: {value:.60}"
                    );
                }
                rest = &value[end + 1..];
            }
        }
        rest = rest.strip_prefix('>').unwrap_or_else(|| panic!("<{name} ends: {rest:.60}"));
        assert!(name != "style" && (name != "script" || has_source), "inline <{name}>");
        if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_text(rest);
    assert!(open.is_empty(), "never closed: {open:?}");
}

fn assert_text(text: &str) {
    assert!(!text.contains(['>', '"', '\'']), "{text:.100}");
    for (at, _) in text.match_indices('&') {
        let entity = &text[at..text[at..].find(';').map_or(text.len(), |end| at + end + 1)];
        assert!(["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].contains(&entity), "{entity:.40}");
    }
}
