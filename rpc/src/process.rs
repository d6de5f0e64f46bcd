//! What a process shows of itself once it has a server or a channel: flags and variables under brpc's names
//! (`spec/builtin-services.md` §15). Done once; a name that somebody else has taken stays with them.

use std::any::Any;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bvar::{PassiveStatus, Value, Variable};
use profile::Kind;

use crate::protocol::{Protocol, Role};
use crate::socket::Socket;
use crate::{buffers, builtin, client, compress, limit, limits, server, span, stream, transport};

/// Servers that run.
pub(crate) static SERVERS: AtomicUsize = AtomicUsize::new(0);

/// The checksums of bodies that are known, by brpc's names.
const CHECKSUMS: &str = "crc32c";

/// Makes the flags of this crate and those below it known, so that
/// [`bvar::flag::parse_args`] finds them. Servers and channels do it too; a program that takes flags from its command
/// line does it before. Never blocks for long; calling it again changes nothing.
pub fn register_flags() {
    bthread::register_flags();
    limits::register_flags();
    stream::register_flags();
    server::register_flags();
    limit::register_flags();
    transport::register_flags();
    client::register_flags();
    builtin::register_flags();
    span::register();
}

/// As [`register_flags`], and exposes the variables. The first server or channel tells which protocols there are.
pub(crate) fn show(protocols: &[&'static dyn Protocol]) {
    static SHOWN: OnceLock<Vec<Box<dyn Any + Send + Sync>>> = OnceLock::new();
    register_flags();
    SHOWN.get_or_init(|| {
        bvar::default_variables::expose();
        bthread::expose_variables();
        let protocols: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
        let protocols = protocols.join(" ");
        [
            variable("rpc_revision", || env!("CARGO_PKG_VERSION").to_owned()),
            variable("rpc_protocols", move || protocols.clone()),
            variable("rpc_compressions", compress::names),
            variable("rpc_checksums", || CHECKSUMS.to_owned()),
            variable("rpc_profilers", profilers),
            variable("rpc_socket_count", Socket::count),
            variable("rpc_server_count", || SERVERS.load(Ordering::Relaxed)), // a statistic
            variable("rpc_channel_connection_count", || {
                Socket::all().filter(|socket| socket.role() == Role::Client).count()
            }),
            variable("rpc_channel_retries_denied", || {
                client::RETRIES_DENIED.load(Ordering::Relaxed) // a statistic
            }),
            variable("rpc_health_check_count", client::checked),
        ]
        .into_iter()
        .flatten()
        .chain(buffers::watch())
        .collect()
    });
}

/// The profilers that every build has; those of the heap need an allocator.
fn profilers() -> String {
    [Kind::Cpu, Kind::Contention, Kind::OffCpu].map(Kind::name).join(" ")
}

pub(crate) fn variable<T: Into<Value> + Send + 'static>(
    name: &str,
    value: impl Fn() -> T + Send + Sync + 'static,
) -> Option<Box<dyn Any + Send + Sync>> {
    let exposed = PassiveStatus::new(value).expose(name).ok()?;
    Some(Box::new(exposed))
}
