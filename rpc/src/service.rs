//! What a service is to the server: its names, and one function that takes a call.
//!
//! Generated code implements [`Service`]; a hand-written one (a proxy, say) may as well. Nothing here knows a wire
//! format or a connection.

use iobuf::IoBuf;
use prost_reflect::MessageDescriptor;

use crate::schema::Schema;
use crate::server::{ServerCall, ServiceOptions};

/// The names of a service and its methods, a static made by the code generator.
#[derive(Debug)]
pub struct ServiceDescriptor {
    /// With its package: `"example.EchoService"`.
    pub full_name: &'static str,
    /// In the order of the `.proto` file; [`Service::call`] gets an index of this list.
    pub methods: &'static [MethodDescriptor],
    /// The descriptors of the `.proto` that the service is from; [`Schema::NONE`] in hand-written ones without one.
    pub schema: &'static Schema,
}

impl ServiceDescriptor {
    /// The last part of the full name: `"EchoService"`.
    pub fn short_name(&self) -> &'static str {
        self.full_name.rsplit('.').next().unwrap_or(self.full_name)
    }
}

/// The names of a method and its messages.
#[derive(Debug, PartialEq, Eq)]
pub struct MethodDescriptor {
    /// The bare name: `"Echo"`.
    pub name: &'static str,
    /// With service and package: `"example.EchoService.Echo"`.
    pub full_name: &'static str,
    /// The full name of the request message: `"example.EchoRequest"`.
    pub request_type: &'static str,
    /// The full name of the response message: `"example.EchoResponse"`.
    pub response_type: &'static str,
    /// The descriptors of the `.proto` that the method is from; [`Schema::NONE`] in hand-written ones without one.
    pub schema: &'static Schema,
}

impl MethodDescriptor {
    /// The full name of the service: what is in front of the method's bare name.
    pub fn service_name(&self) -> &'static str {
        self.full_name.strip_suffix(self.name).and_then(|rest| rest.strip_suffix('.')).unwrap_or("")
    }

    /// The descriptor of the request message; none if the [`schema`](Self::schema) does not have it.
    /// *Blocking*: as [`Schema::pool`].
    pub fn request_descriptor(&self) -> Option<MessageDescriptor> {
        self.schema.message(self.request_type)
    }

    /// The descriptor of the response message; none if the [`schema`](Self::schema) does not have it.
    /// *Blocking*: as [`Schema::pool`].
    pub fn response_descriptor(&self) -> Option<MessageDescriptor> {
        self.schema.message(self.response_type)
    }
}

/// A service that a server can be given. Made by generated code around a user's implementation.
#[diagnostic::on_unimplemented(
    note = "generated code wraps the handlers of `EchoService` in a service: `EchoServer::new(handlers)`"
)]
pub trait Service: Send + Sync + 'static {
    /// The names; the same value every time.
    fn descriptor(&self) -> &'static ServiceDescriptor;

    /// What [`ServerBuilder::add`](crate::ServerBuilder::add) takes for what was decided about the service, where its
    /// maker knows: the paths that lead to its methods, say.
    fn options(&self) -> ServiceOptions {
        ServiceOptions::default()
    }

    /// Takes one call: `method` is an index of the descriptor's methods, `body` the request message as bytes.
    ///
    /// Every call is answered exactly once, by handing it to [`unary`](crate::server::unary) or
    /// [`unary_async`](crate::server::unary_async), or by [`ServerCall::succeed`] or [`ServerCall::fail`]; one that
    /// is dropped unanswered fails with [`EINTERNAL`](crate::error::EINTERNAL).
    ///
    /// *Blocking*: runs in a bthread of its own and may park it. No lock is held. A panic that gets out of here fails
    /// this call alone.
    fn call(&self, method: usize, call: ServerCall, body: IoBuf);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let method = MethodDescriptor {
            name: "Echo",
            full_name: "example.EchoService.Echo",
            request_type: "",
            response_type: "",
            schema: &Schema::NONE,
        };
        assert_eq!(method.service_name(), "example.EchoService");
        let service = |full_name| ServiceDescriptor { full_name, methods: &[], schema: &Schema::NONE };
        assert_eq!(service("example.EchoService").short_name(), "EchoService");
        assert_eq!(service("Bare").short_name(), "Bare");
    }
}
