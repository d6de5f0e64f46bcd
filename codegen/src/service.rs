//! What a `service` of a `.proto` becomes: two handler traits, a server adapter and a client stub.
//! Writes source text only; every name in it is absolute, since a user's message may be called `Option`. A crate
//! seldom uses all that a service offers, hence `dead_code` is allowed in what is written.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write;

use prost_build::{Comments, Method, Service, ServiceGenerator};

use crate::embedded_schema;
use crate::layout::{ServiceTypes, full_name};
use crate::method_names::{self, MethodNames};

/// Adds to prost's output, file by file.
pub(crate) struct Generator {
    runtime: String,
    /// What to put at the end of each file, in the order in which prost goes through them.
    file_endings: VecDeque<String>,
    /// What to put at the end of each package that has services, by its name.
    schemas: HashMap<String, String>,
}

impl Generator {
    pub(crate) fn new(
        runtime: String,
        file_endings: impl IntoIterator<Item = String>,
        schemas: HashMap<String, String>,
    ) -> Self {
        Self { runtime, file_endings: file_endings.into_iter().collect(), schemas }
    }
}

impl ServiceGenerator for Generator {
    fn generate(&mut self, service: Service, buf: &mut String) {
        // Without methods there is nothing to call or to serve.
        if !service.methods.is_empty() {
            buf.push_str(&Writer::new(&self.runtime, &service).everything());
        }
    }

    fn finalize(&mut self, buf: &mut String) {
        buf.push_str(&self.file_endings.pop_front().unwrap_or_default());
    }

    fn finalize_package(&mut self, package: &str, buf: &mut String) {
        buf.push_str(self.schemas.get(package).map_or("", String::as_str));
    }
}

/// A type parameter of generated code. No message is called so: prost never ends a name in `_` but for keywords.
const PARAMETER: &str = "T_";

struct Writer<'a> {
    rt: &'a str,
    service: &'a Service,
    full_name: String,
    types: ServiceTypes,
    /// Each method with the names of its functions.
    methods: Vec<(&'a Method, MethodNames)>,
}

impl<'a> Writer<'a> {
    fn new(rt: &'a str, service: &'a Service) -> Self {
        let names =
            method_names::for_service(service.methods.iter().map(|method| method.proto_name.as_str()));
        Self {
            rt,
            service,
            full_name: full_name(&service.package, &service.proto_name),
            types: ServiceTypes::new(&service.proto_name),
            methods: service.methods.iter().zip(names).collect(),
        }
    }

    fn everything(&self) -> String {
        [self.handlers(), self.handlers_async(), self.server(), self.service_impl(), self.stub()].concat()
    }

    fn handlers(&self) -> String {
        let (rt, name, ServiceTypes { handlers, server, .. }) = (self.rt, &self.full_name, &self.types);
        let mut code = format!(
            "
{docs}/// Handlers of `{name}` that answer by returning; served through [`{server}::new`].
///
/// Each call runs in a bthread of its own, where waiting parks the bthread and blocks no thread.
/// A panic fails that call alone. An `Arc` of handlers handles as well, for whoever keeps a share of them.
#[allow(dead_code, clippy::wrong_self_convention)]
pub trait {handlers}: ::core::marker::Send + ::core::marker::Sync + 'static {{",
            docs = docs(&self.service.comments, 0),
        );
        for (method, names) in &self.methods {
            let (call, wire, request, response) =
                (&names.call, &method.proto_name, &method.input_type, &method.output_type);
            let _ = write!(
                code,
                "
{docs}    /// Handles `{name}.{wire}`.
    ///
    /// # Errors
    /// Go to the client, with code and text.
    fn {call}(
        &self,
        cntl: &mut {rt}::ServerCall,
        request: {request},
    ) -> ::core::result::Result<{response}, {rt}::RpcError>;
",
                docs = docs(&method.comments, 1),
            );
        }
        code.push_str("}\n");
        self.handlers_of_arc(&mut code);
        code
    }

    fn handlers_of_arc(&self, code: &mut String) {
        let (rt, handlers) = (self.rt, &self.types.handlers);
        code.push_str(&impl_for_arc(handlers));
        for (method, MethodNames { call, .. }) in &self.methods {
            let (request, response) = (&method.input_type, &method.output_type);
            let _ = write!(
                code,
                "
    fn {call}(
        &self,
        cntl: &mut {rt}::ServerCall,
        request: {request},
    ) -> ::core::result::Result<{response}, {rt}::RpcError> {{
        {handlers}::{call}(&**self, cntl, request)
    }}
",
            );
        }
        code.push_str("}\n");
    }

    fn handlers_async(&self) -> String {
        let (rt, name) = (self.rt, &self.full_name);
        let ServiceTypes { handlers_async, server, .. } = &self.types;
        let mut code = format!(
            "
{docs}/// Handlers of `{name}` that may answer later; served through [`{server}::new_async`].
///
/// Each call starts in a bthread of its own. The responder may be kept and sent from anywhere, after the
/// handler has returned too; dropped unsent, it answers the client with an error. An `Arc` of handlers handles as
/// well.
#[allow(dead_code, clippy::wrong_self_convention)]
pub trait {handlers_async}: ::core::marker::Send + ::core::marker::Sync + 'static {{",
            docs = docs(&self.service.comments, 0),
        );
        for (method, names) in &self.methods {
            let (call, wire, request, response) =
                (&names.call, &method.proto_name, &method.input_type, &method.output_type);
            let _ = write!(
                code,
                "
{docs}    /// Handles `{name}.{wire}`.
    fn {call}(&self, request: {request}, responder: {rt}::Responder<{response}>);
",
                docs = docs(&method.comments, 1),
            );
        }
        code.push_str("}\n");
        self.handlers_async_of_arc(&mut code);
        code
    }

    fn handlers_async_of_arc(&self, code: &mut String) {
        let (rt, handlers) = (self.rt, &self.types.handlers_async);
        code.push_str(&impl_for_arc(handlers));
        for (method, MethodNames { call, .. }) in &self.methods {
            let (request, response) = (&method.input_type, &method.output_type);
            let _ = write!(
                code,
                "
    fn {call}(&self, request: {request}, responder: {rt}::Responder<{response}>) {{
        {handlers}::{call}(&**self, request, responder);
    }}
",
            );
        }
        code.push_str("}\n");
    }

    fn server(&self) -> String {
        let (rt, name) = (self.rt, &self.full_name);
        let ServiceTypes { handlers, handlers_async, server, server_handlers, .. } = &self.types;
        let schema = embedded_schema::static_name(&self.service.package);
        let mut methods = String::new();
        for (method, _) in &self.methods {
            let wire = &method.proto_name;
            let request = method.input_proto_type.trim_start_matches('.');
            let response = method.output_proto_type.trim_start_matches('.');
            let _ = write!(
                methods,
                "
                {rt}::MethodDescriptor {{
                    name: \"{wire}\",
                    full_name: \"{name}.{wire}\",
                    request_type: \"{request}\",
                    response_type: \"{response}\",
                    schema: &{schema},
                }},",
            );
        }
        format!(
            "
/// `{name}` for a server: finds the handler of each call.
#[allow(dead_code)]
pub struct {server} {{
    handlers: {server_handlers},
}}

#[allow(dead_code)]
enum {server_handlers} {{
    Blocking(::std::boxed::Box<dyn {handlers}>),
    Async(::std::boxed::Box<dyn {handlers_async}>),
}}

#[allow(dead_code)]
impl {server} {{
    /// The names of the service and its methods on the wire, in the order of the `.proto`.
    pub const DESCRIPTOR: &'static {rt}::ServiceDescriptor = {{
        static DESCRIPTOR: {rt}::ServiceDescriptor = {rt}::ServiceDescriptor {{
            full_name: \"{name}\",
            methods: &[{methods}
            ],
            schema: &{schema},
        }};
        &DESCRIPTOR
    }};

    /// Serves with handlers that answer by returning.
    pub fn new(handlers: impl {handlers}) -> Self {{
        Self {{ handlers: {server_handlers}::Blocking(::std::boxed::Box::new(handlers)) }}
    }}

    /// Serves with handlers that may answer later.
    pub fn new_async(handlers: impl {handlers_async}) -> Self {{
        Self {{ handlers: {server_handlers}::Async(::std::boxed::Box::new(handlers)) }}
    }}
}}

impl ::core::fmt::Debug for {server} {{
    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{
        f.debug_struct(\"{server}\").finish_non_exhaustive()
    }}
}}
"
        )
    }

    fn service_impl(&self) -> String {
        let (rt, ServiceTypes { handlers, handlers_async, server, server_handlers, .. }) =
            (self.rt, &self.types);
        let mut arms = String::new();
        for (index, (_, MethodNames { call, .. })) in self.methods.iter().enumerate() {
            let _ = write!(
                arms,
                "
            ({index}, {server_handlers}::Blocking(handlers)) => {rt}::unary(call, body, |cntl, request| {{
                {handlers}::{call}(&**handlers, cntl, request)
            }}),
            ({index}, {server_handlers}::Async(handlers)) => {rt}::unary_async(call, body, |request, responder| {{
                {handlers_async}::{call}(&**handlers, request, responder);
            }}),"
            );
        }
        format!(
            "
impl {rt}::Service for {server} {{
    fn descriptor(&self) -> &'static {rt}::ServiceDescriptor {{
        Self::DESCRIPTOR
    }}

    fn call(&self, method: usize, call: {rt}::ServerCall, body: {rt}::IoBuf) {{
        match (method, &self.handlers) {{{arms}
            // Not an index of DESCRIPTOR.methods: a call that is dropped is answered with an error.
            _ => ::core::mem::drop((call, body)),
        }}
    }}
}}
"
        )
    }

    fn stub(&self) -> String {
        let (rt, name, ServiceTypes { stub, .. }) = (self.rt, &self.full_name, &self.types);
        let mut code = format!(
            "
{docs}/// Client of `{name}`. Cloning it is cheap; all clones use one channel.
#[allow(dead_code)]
#[derive(Clone, Debug)]
pub struct {stub} {{
    channel: {rt}::Channel,
}}

#[allow(dead_code, clippy::wrong_self_convention, clippy::needless_pass_by_value)]
impl {stub} {{
    /// A stub that calls through `channel`.
    #[must_use]
    pub fn new(channel: &{rt}::Channel) -> Self {{
        Self {{ channel: ::core::clone::Clone::clone(channel) }}
    }}
",
            docs = docs(&self.service.comments, 0),
        );
        for (index, (method, names)) in self.methods.iter().enumerate() {
            code.push_str(&self.stub_method(index, method, names));
        }
        code.push_str("}\n");
        code
    }

    fn stub_method(&self, index: usize, method: &Method, names: &MethodNames) -> String {
        let (rt, wire) = (self.rt, format!("{}.{}", self.full_name, method.proto_name));
        let (request, response) = (&method.input_type, &method.output_type);
        let MethodNames { call, call_with, start, start_with, then, then_with } = names;
        let result = format!("::core::result::Result<{response}, {rt}::RpcError>");
        let result_reply = format!("::core::result::Result<{rt}::Reply<{response}>, {rt}::RpcError>");
        let descriptor = format!("&{}::DESCRIPTOR.methods[{index}]", self.types.server);
        let no_options = format!("<{rt}::CallOptions as ::core::default::Default>::default()");
        let deprecated = if method.options.deprecated() { "    #[deprecated]\n" } else { "" };
        format!(
            "
{docs}    /// Calls `{wire}` and waits for the response.
    /// Parks the bthread, or blocks the thread.
    ///
    /// # Errors
    /// What the server answered, `ERPCTIMEDOUT` at the deadline, or the failure of the connection.
{deprecated}    pub fn {call}(
        &self,
        request: &{request},
    ) -> {result} {{
        let reply = self.channel.call({descriptor}, {no_options}, request);
        reply.map(|reply| reply.message)
    }}

    /// Like [`{link_call}`](Self::{link_call}) with options; the reply comes with its attachment.
    ///
    /// # Errors
    /// The same.
{deprecated}    pub fn {call_with}(
        &self,
        options: {rt}::CallOptions,
        request: &{request},
    ) -> {result_reply} {{
        self.channel.call({descriptor}, options, request)
    }}

    /// Starts to call `{wire}` and does not wait for the response.
    /// What is returned is a future, or is waited for with `join`; dropped, it cancels the call.
{deprecated}    pub fn {start}(&self, request: &{request}) -> {rt}::Call<{response}> {{
        self.channel.start({descriptor}, {no_options}, request)
    }}

    /// Like [`{start}`](Self::{start}) with options.
{deprecated}    pub fn {start_with}(
        &self,
        options: {rt}::CallOptions,
        request: &{request},
    ) -> {rt}::Call<{response}> {{
        self.channel.start({descriptor}, options, request)
    }}

    /// Starts to call `{wire}` and does not wait for the response.
    /// `done` runs once, in a bthread, with what came of the call.
{deprecated}    pub fn {then}(
        &self,
        request: {request},
        done: impl ::core::ops::FnOnce({result})
        + ::core::marker::Send
        + 'static,
    ) {{
        self.channel.call_then({descriptor}, {no_options}, &request, move |reply| {{
            done(reply.map(|reply| reply.message));
        }});
    }}

    /// Like [`{then}`](Self::{then}) with options; the reply comes with its attachment.
{deprecated}    pub fn {then_with}(
        &self,
        options: {rt}::CallOptions,
        request: {request},
        done: impl ::core::ops::FnOnce({result_reply})
        + ::core::marker::Send
        + 'static,
    ) {{
        self.channel.call_then({descriptor}, options, &request, done);
    }}
",
            docs = docs(&method.comments, 1),
            link_call = call.trim_start_matches("r#"),
        )
    }
}

/// The head of an `impl` that hands calls from an `Arc` on to what is in it.
fn impl_for_arc(handlers: &str) -> String {
    format!(
        "\nimpl<{PARAMETER}> {handlers} for ::std::sync::Arc<{PARAMETER}>
where
    {PARAMETER}: {handlers} + ?::core::marker::Sized,
{{"
    )
}

/// The comments of the `.proto` as documentation, with an empty line after them.
fn docs(comments: &Comments, depth: u8) -> String {
    let mut docs = String::new();
    comments.append_with_indent(depth, &mut docs);
    if !comments.leading.is_empty() || !comments.trailing.is_empty() {
        docs.push_str(&"    ".repeat(depth.into()));
        docs.push_str("///\n");
    }
    docs
}
