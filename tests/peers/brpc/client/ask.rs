//! The peer's ports, channels to them, calls, and the server's reports.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bobbin::rpc::ChannelBuilder;
use bobbin::{CallOptions, Channel, Limits, Reply, RpcError, error, protocols};
use bobbin_tests::features::{
    FeatureRequest, FeatureResponse, FeatureStub, ReportRequest, ReportResponse, Seen,
};

use crate::Failure;

/// Longer than any call takes, however busy the machine is.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

/// The largest message that is taken: those of the features are larger than the default allows.
const MAX_BODY_SIZE: usize = 256 << 20;

/// How often the server is asked for a report that is not yet as wanted.
const LOOK: Duration = Duration::from_millis(10);

/// Where the server's ports are, by name.
#[derive(Debug, Default)]
pub(crate) struct Peer(HashMap<String, String>);

impl Peer {
    pub(crate) fn add(&mut self, port: &str, address: &str) {
        self.0.insert(port.to_owned(), address.to_owned());
    }

    pub(crate) fn address(&self, port: &str) -> Result<&str, Failure> {
        Ok(self.0.get(port).ok_or_else(|| format!("the server has not said where {port} is"))?)
    }

    /// A channel that tries each call once.
    pub(crate) fn channel(&self, port: &str, kind: &str) -> Result<Channel, Failure> {
        self.channel_with(port, kind, |builder| builder)
    }

    pub(crate) fn channel_with(
        &self,
        port: &str,
        kind: &str,
        change: impl FnOnce(ChannelBuilder<protocols::Bundled>) -> ChannelBuilder<protocols::Bundled>,
    ) -> Result<Channel, Failure> {
        let mut limits = Limits::default();
        limits.max_body_size = MAX_BODY_SIZE;
        let builder = Channel::builder()
            .protocol("baidu_std")
            .connection_type(kind)
            .timeout(PATIENT)
            .connect_timeout(PATIENT)
            .max_retry(0)
            .limits(limits);
        change(builder).connect(self.address(port)?).map_err(|error| error.to_string())
    }

    pub(crate) fn stub(&self, port: &str) -> Result<FeatureStub, Failure> {
        Ok(FeatureStub::new(&self.channel(port, "single")?))
    }

    /// Asks for the report of a key until it is as wanted, at most ten seconds.
    pub(crate) fn until(&self, key: &str, wanted: impl Fn(&ReportResponse) -> bool) -> Result<(), Failure> {
        let stub = FeatureStub::new(&self.channel("plain", "short")?);
        let start = Instant::now();
        loop {
            let report = stub
                .report(&ReportRequest { key: Some(key.to_owned()) })
                .map_err(|error| format!("no report: {error}"))?;
            if wanted(&report) {
                return Ok(());
            }
            if start.elapsed() > PATIENT / 3 {
                return Err(format!("the server's report stays at {report:?}"));
            }
            std::thread::sleep(LOOK);
        }
    }
}

pub(crate) fn hello() -> FeatureRequest {
    FeatureRequest { message: Some("hello".into()), ..FeatureRequest::default() }
}

/// A name that no other call has used.
pub(crate) fn key() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("{}.{now}.{}", std::process::id(), LAST.fetch_add(1, Ordering::Relaxed))
}

/// What the server has seen of a call.
pub(crate) fn seen(response: &FeatureResponse) -> Seen {
    response.seen.clone().unwrap_or_default()
}

/// A call that has to succeed with the message that it sent.
pub(crate) fn call(stub: &FeatureStub, request: &FeatureRequest) -> Result<Seen, Failure> {
    Ok(call_with(stub, CallOptions::default(), request)?.message.seen.unwrap_or_default())
}

pub(crate) fn call_with(
    stub: &FeatureStub,
    options: CallOptions,
    request: &FeatureRequest,
) -> Result<Reply<FeatureResponse>, Failure> {
    let reply = stub.call_with(options, request).map_err(|error| error.to_string())?;
    if reply.message.message() != request.message() {
        return Err(format!("the message came back as {:?}", reply.message.message()));
    }
    Ok(reply)
}

/// A call that has to fail.
pub(crate) fn fails(
    stub: &FeatureStub,
    options: CallOptions,
    request: &FeatureRequest,
) -> Result<RpcError, Failure> {
    match stub.call_with(options, request) {
        Ok(_) => Err("the call succeeded".into()),
        Err(error) => Ok(error),
    }
}

/// Whether the connection was lost, in whatever way that was noticed.
pub(crate) fn is_lost(error: &RpcError) -> bool {
    [error::EEOF, error::ECONNRESET, error::EFAILEDSOCKET, error::EPIPE].contains(&error.code())
}
