//! How the channels of one node connect.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rpc::RpcError;
use rpc::error::EINVAL;
use rpc::transport::{Connector, Endpoint, SocketOptions, Transport};

use super::Shared;
use super::transport::SimTransport;
use super::wire::Moment;

/// Connects from one node, for as long as it stays up.
pub(super) struct SimConnector {
    network: Arc<Shared>,
    ip: Ipv4Addr,
    /// How often the node was down before: its next life has another connector.
    crashes: u64,
}

impl SimConnector {
    pub(super) fn new(network: Arc<Shared>, ip: Ipv4Addr) -> Self {
        let crashes = network.with(|state, _, _| state.wire.node(ip).map_or(0, |node| node.crashes));
        SimConnector { network, ip, crashes }
    }
}

impl Connector for SimConnector {
    /// Reads `ip:port` and `node:port`; there is no other name service.
    fn resolve(&self, address: &str) -> Result<Endpoint, RpcError> {
        if let Ok(address) = address.parse() {
            return Ok(Endpoint::Tcp(address));
        }
        let parts = address.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<u16>().ok()?)));
        let (name, port) =
            parts.ok_or_else(|| RpcError::new(EINVAL, format!("Invalid address=`{address}'")))?;
        let ip = self.network.with(|state, _, _| state.wire.address_of(name));
        let ip = ip.ok_or_else(|| RpcError::new(EINVAL, format!("No simulated node is called `{name}'")))?;
        Ok(Endpoint::Tcp(SocketAddr::from((ip, port))))
    }

    /// `Unsupported` for what is no IPv4 address, `HostUnreachable` for one that no node has, `NetworkDown` when the
    /// connector's node is not up any more, `AddrNotAvailable` when it has no port left or is told to leave from elsewhere.
    fn connect(&self, remote: &Endpoint, options: &SocketOptions) -> io::Result<Box<dyn Transport>> {
        let &Endpoint::Tcp(SocketAddr::V4(remote)) = remote else {
            let text = format!("The simulated network does not lead to `{remote}'");
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        if options.client_host.is_some_and(|host| host != IpAddr::V4(self.ip)) {
            return Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        }
        let (from, to) = ((self.ip, self.crashes), (*remote.ip(), remote.port()));
        let (key, local) = self
            .network
            .with(|state, now, ground| state.connect(Moment { now, ground }, from, to, options))?;
        Ok(Box::new(SimTransport::new(self.network.clone(), key, local)))
    }
}
