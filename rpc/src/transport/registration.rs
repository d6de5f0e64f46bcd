//! What keeps a handler of events registered with its transport.

use std::any::Any;
use std::fmt;

/// Keeps a handler registered; dropping it ends that. One event may still be on its way.
#[must_use = "dropping the registration ends it"]
pub struct Registration(Kept);

enum Kept {
    Descriptor(#[expect(dead_code, reason = "kept for its drop")] bthread::poller::Registration),
    Other(#[expect(dead_code, reason = "kept for its drop")] Box<dyn Any + Send + Sync>),
}

impl Registration {
    /// One that ends by dropping `guard`.
    pub fn new(guard: impl Any + Send + Sync) -> Self {
        Registration(Kept::Other(Box::new(guard)))
    }
}

impl From<bthread::poller::Registration> for Registration {
    fn from(registration: bthread::poller::Registration) -> Self {
        Registration(Kept::Descriptor(registration))
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kept::Descriptor(_) => "Registration(descriptor)",
            Kept::Other(_) => "Registration",
        })
    }
}
