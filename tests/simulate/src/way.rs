//! How a client reaches a server: the protocol, and how calls share connections.

use std::time::Duration;

use bobbin::{Channel, ChannelBuilder, Limits};
use sim::{Node, Random};

/// Bytes that may be unwritten where little may be.
const UNWRITTEN_TIGHT: usize = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) protocol: &'static str,
    pub(crate) connections: &'static str,
    /// Little may be unwritten: what is more fails with `EOVERCROWDED`.
    pub(crate) is_tight: bool,
}

const fn way(protocol: &'static str, connections: &'static str) -> Way {
    Way { protocol, connections, is_tight: false }
}

impl Way {
    pub(crate) const SINGLE: Way = way("baidu_std", "single");
    pub(crate) const POOLED: Way = way("baidu_std", "pooled");
    pub(crate) const SHORT: Way = way("baidu_std", "short");
    const HTTP_POOLED: Way = way("http:proto", "pooled");
    const HTTP_SHORT: Way = way("http:proto", "short");

    const TIGHT: Way = Way { is_tight: true, ..Self::SINGLE };

    /// Shared connections are drawn most often: most of what can go wrong is there.
    pub(crate) fn draw(random: &mut Random) -> Self {
        *random.pick(&[
            Self::SINGLE,
            Self::SINGLE,
            Self::TIGHT,
            Self::POOLED,
            Self::POOLED,
            Self::SHORT,
            Self::HTTP_POOLED,
            Self::HTTP_SHORT,
        ])
    }

    /// Whether messages have attachments.
    pub(crate) fn has_attachments(self) -> bool {
        self.protocol == "baidu_std"
    }

    /// Whether a call has its connection for itself, so that its end is seen by the server.
    pub(crate) fn is_exclusive(self) -> bool {
        self.connections != "single"
    }

    pub(crate) fn channel(self, node: &Node) -> ChannelBuilder {
        let mut limits = Limits::default();
        if self.is_tight {
            limits.max_unwritten_bytes = UNWRITTEN_TIGHT;
        }
        Channel::builder()
            .limits(limits)
            .protocol(self.protocol)
            .connection_type(self.connections)
            .connector(node.connector())
            .timeout(Duration::MAX)
    }
}
