//! The streams of one call, and what both ends have seen of them.

use std::sync::Arc;
use std::time::Instant;

use bobbin::{CallOptions, Channel, RpcError, StreamOptions, StreamWriter, bthread};
use bobbin_tests::features::{FeatureRequest, FeatureStub, StreamPlan, StreamReport};
use bobbin_tests::{Doing, StreamEnd, StreamEnds};

use crate::ask::{PATIENT, Peer, hello, key};
use crate::{Failure, want};

/// Streams that are open, with their ends here.
pub(crate) struct Open<'a> {
    peer: &'a Peer,
    pub(crate) channel: Channel,
    key: String,
    streams: Vec<(StreamWriter, Arc<StreamEnd>)>,
}

/// How streams are to be opened.
pub(crate) struct Opening {
    pub(crate) plan: StreamPlan,
    pub(crate) doing: Doing,
    pub(crate) options: StreamOptions,
    pub(crate) has_handler: bool,
    pub(crate) count: usize,
    pub(crate) request: FeatureRequest,
}

impl Default for Opening {
    fn default() -> Self {
        Opening {
            plan: StreamPlan::default(),
            doing: Doing::default(),
            options: StreamOptions::default(),
            has_handler: true,
            count: 1,
            request: hello(),
        }
    }
}

/// One stream, and a server that does this with it.
pub(crate) fn opening(plan: StreamPlan) -> Opening {
    Opening { plan, ..Opening::default() }
}

impl Opening {
    /// Makes the streams, lets `before` use them, and makes the call.
    pub(crate) fn call<'a>(
        self,
        peer: &'a Peer,
        before: impl FnOnce(&Open<'a>) -> Result<(), Failure>,
    ) -> Result<(Open<'a>, Result<(), RpcError>), Failure> {
        let (channel, key) = (peer.channel("plain", "single")?, key());
        let ends = StreamEnds::new(self.doing);
        let options =
            if self.has_handler { self.options.handler(ends.handler()) } else { self.options.write_only() };
        let text = |error: RpcError| error.to_string();
        let (options, streams) = CallOptions::default().open_streams(self.count, options).map_err(text)?;
        let streams = streams.into_iter().map(|stream| {
            let end = ends.of(stream.id());
            (stream.split().1, end)
        });
        let open = Open { peer, channel, key: key.clone(), streams: streams.collect() };
        before(&open)?;
        let request = FeatureRequest { key: Some(key), stream: Some(self.plan), ..self.request };
        let called = FeatureStub::new(&open.channel).call_with(options, &request).map(drop);
        Ok((open, called))
    }

    /// As [`call`](Self::call), which has to succeed.
    pub(crate) fn open(self, peer: &Peer) -> Result<Open<'_>, Failure> {
        let (open, called) = self.call(peer, |_| Ok(()))?;
        called.map_err(|error| error.to_string())?;
        Ok(open)
    }
}

impl Open<'_> {
    pub(crate) fn stream(&self, i: usize) -> &StreamWriter {
        &self.streams[i].0
    }

    pub(crate) fn report(&self, i: usize) -> StreamReport {
        self.streams[i].1.report()
    }

    /// Writes messages with these numbers to a stream.
    pub(crate) fn write(&self, i: usize, numbers: std::ops::Range<u64>, size: usize) -> Result<(), Failure> {
        let (stream, end) = &self.streams[i];
        end.write(stream, numbers, size).map_err(|error| format!("writing: {error}"))
    }

    fn wait(&self, i: usize, what: &str, wanted: impl Fn(&StreamReport) -> bool) -> Result<(), Failure> {
        let start = Instant::now();
        while !wanted(&self.report(i)) {
            want!(start.elapsed() < PATIENT, "{what}; {:?}", self.report(i));
            bthread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(())
    }

    /// Waits until so many messages have come here, which all were the expected ones.
    pub(crate) fn received(&self, i: usize, messages: i64) -> Result<(), Failure> {
        self.wait(i, "all messages", |report| report.messages() >= messages)?;
        let report = self.report(i);
        want!(report.messages() == messages && report.wrong() == 0, "{report:?}");
        Ok(())
    }

    /// Waits until the end was told here, once.
    pub(crate) fn closed(&self, i: usize) -> Result<(), Failure> {
        self.wait(i, "the end", |report| report.closed() > 0)?;
        want!(self.report(i).closed() == 1, "{:?}", self.report(i));
        Ok(())
    }

    /// Waits until the server's end of a stream is as wanted.
    pub(crate) fn at_server(&self, i: usize, wanted: impl Fn(&StreamReport) -> bool) -> Result<(), Failure> {
        self.peer.until(&self.key, |report| report.streams.get(i).is_some_and(&wanted))
    }

    /// Waits until so many messages have come to the server, which all were the expected ones.
    pub(crate) fn arrived(&self, i: usize, messages: i64) -> Result<(), Failure> {
        self.at_server(i, |report| report.messages() == messages && report.wrong() == 0)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.streams.iter().for_each(|(stream, _)| stream.close());
    }
}
