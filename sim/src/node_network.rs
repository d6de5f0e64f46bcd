//! A node's door to the network.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rpc::transport::{Connector, SocketOptions};

use crate::network::SimListener;
use crate::node::Node;
use crate::world::{World, lock};

/// The connectors of all incarnations: channels of one share connections, those of two never do.
static CONNECTORS: Mutex<BTreeMap<(Ipv4Addr, u32), Arc<dyn Connector>>> = Mutex::new(BTreeMap::new());

impl Node {
    /// Listens at a port of the node; 0: one that is free. For [`rpc::ServerBuilder::start_on`].
    ///
    /// # Errors
    /// `AddrInUse`; `NetworkDown` when the node is down.
    pub fn listen(&self, port: u16) -> io::Result<SimListener> {
        World::current().network().listen(self.ip(), port, SocketOptions::default())
    }

    /// What makes the node's connections, for [`rpc::ChannelBuilder::connector`]: one object for each incarnation.
    pub fn connector(&self) -> Arc<dyn Connector> {
        let mut connectors = lock(&CONNECTORS);
        let key = (self.ip(), self.incarnation());
        connectors.entry(key).or_insert_with(|| World::current().network().connector(self.ip())).clone()
    }
}
