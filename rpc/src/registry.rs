//! Registries are values: a list of the protocols that a server or a channel may speak. Nothing registers itself, and
//! nothing runs before `main`.

use crate::protocol::Protocol;

/// A list of protocols, in the order in which a server tries them on the bytes of a new connection.
///
/// Cheap to clone. Names are compared without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    protocols: Vec<&'static dyn Protocol>,
}

impl Registry {
    /// A registry of these protocols.
    pub fn new(protocols: &[&'static dyn Protocol]) -> Self {
        protocols.iter().fold(Registry::default(), |registry, protocol| registry.with(*protocol))
    }

    /// This registry with one more protocol, tried after the others; in the place of one that has the same name.
    #[must_use]
    pub fn with(mut self, protocol: &'static dyn Protocol) -> Self {
        match self.protocols.iter_mut().find(|known| known.name().eq_ignore_ascii_case(protocol.name())) {
            Some(known) => *known = protocol,
            None => self.protocols.push(protocol),
        }
        self
    }

    /// The protocol with this name.
    pub fn find(&self, name: &str) -> Option<&'static dyn Protocol> {
        self.protocols.iter().copied().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }

    /// All protocols, in order.
    pub fn protocols(&self) -> &[&'static dyn Protocol] {
        &self.protocols
    }
}

/// Names the registry that the builders of [`Server`](crate::Server) and [`Channel`](crate::Channel) start from.
///
/// It is a parameter of those types and only ever a type: this crate knows no wire format, so the crate that brings
/// some fills the parameter in and re-exports the types under plain names.
pub trait DefaultRegistry: 'static {
    /// The registry.
    fn registry() -> Registry;
}
