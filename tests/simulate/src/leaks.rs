//! What is left when all servers and channels of a run are gone: nothing.

use std::sync::Arc;
use std::time::Duration;

use bobbin::Endpoint;
use bobbin::rpc::live::{self, Counts};
use bobbin::{bthread, iobuf};
use sim::World;

use crate::bounds::SETTLING;
use crate::site::Site;

/// How often it is looked whether things have settled.
const LOOK: Duration = Duration::from_millis(500);

/// Bthreads that are listed, where too many are left.
const LISTED: usize = 5;

/// When all calls of these clients have ended, none of their connections waits for a reply. While the servers live: the
/// end of a connection would tidy up.
pub(crate) fn check_callers(world: &World, clients: &[Arc<Site>]) {
    if clients.iter().any(|client| client.has_crashed()) {
        return;
    }
    for connection in live::connections() {
        let is_ours = |endpoint: &Endpoint| match endpoint {
            Endpoint::Tcp(address) => clients.iter().any(|client| address.ip() == client.node.ip()),
            _ => false,
        };
        if connection.waiting_calls > 0 && is_ours(&connection.local) {
            world.violation(format_args!("all calls have ended, but one is left: {connection}"));
        }
    }
}

/// What there is of everything.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    counts: Counts,
    bthreads: usize,
    bytes: usize,
}

impl Left {
    pub(crate) fn now() -> Self {
        Left {
            counts: live::counts(),
            bthreads: bthread::bthreads().len(),
            bytes: iobuf::stats().referenced_bytes,
        }
    }

    /// Waits until there is no more than there was, which this is. What a node holds whose power was cut is held for ever;
    /// runs with such a node are not looked at.
    pub(crate) fn check(&self, world: &World) {
        if world.nodes().iter().any(|node| node.incarnation() > 0 || !node.is_up()) {
            return;
        }
        let deadline = world.now() + SETTLING;
        let mut left = Left::now();
        while left != *self && world.now() < deadline {
            bthread::sleep(LOOK);
            left = Left::now();
        }
        if left == *self {
            return;
        }
        world.violation(format_args!("{SETTLING:?} after the end there is {left:?}, expected {self:?}"));
        live::connections().iter().for_each(|connection| world.note(format_args!("is left: {connection}")));
        for info in bthread::bthreads().iter().take(LISTED) {
            world.note(format_args!("is left: bthread {:?} {:?}", info.name, info.state));
        }
    }
}
