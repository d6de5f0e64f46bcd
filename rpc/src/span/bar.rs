//! Where the time of a request or a call went, as the parts of one bar.

use std::time::Duration;

use bthread::{WaitKind, Waits};

use super::record::{Point, SpanKind, SpanRecord};

/// The time of one span, in parts that follow each other without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// All of it.
    pub total: Duration,
    /// What it went to. A part whose end was not noted is missing, and its time counts to the next.
    pub parts: Vec<Part>,
}

/// A part of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// A request's: `read`, `queue`, `parse`, `run`, `serialise`, `write`. A call's: `serialise`, `write`, `wait`, `wake`.
    pub name: &'static str,
    /// Since the span's start.
    pub start: Duration,
    /// How long it was.
    pub length: Duration,
    /// What the bthread waited for meanwhile; of `run` alone. A method whose answer came from elsewhere may have waited
    /// longer than `run` lasted.
    pub waits: Vec<PartWait>,
}

/// Waits of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartWait {
    /// One of [`WaitKind::name`], or `ready`: it could have gone on, and had no worker.
    pub name: &'static str,
    /// How many.
    pub count: u64,
    /// Their time together.
    pub time: Duration,
}

const SERVER: [(Point, &str); 6] = [
    (Point::Received, "read"),
    (Point::Taken, "queue"),
    (Point::Entered, "parse"),
    (Point::Answered, "run"),
    (Point::Serialised, "serialise"),
    (Point::Written, "write"),
];

const CLIENT: [(Point, &str); 4] = [
    (Point::Serialised, "serialise"),
    (Point::Written, "write"),
    (Point::Received, "wait"),
    (Point::Ended, "wake"),
];

/// Where the time of a span went.
pub fn bar(record: &SpanRecord) -> Bar {
    let ends: &[_] = match record.kind {
        SpanKind::Server => &SERVER,
        SpanKind::Client => &CLIENT,
    };
    let mut parts = Vec::with_capacity(ends.len());
    let mut start = Duration::ZERO;
    for (point, name) in ends {
        let Some(end) = record.point(*point) else { continue };
        // Threads that note points at nearly the same time may note them in another order.
        let end = end.max(start);
        let waits = if *point == Point::Answered { waits(&record.waits).collect() } else { Vec::new() };
        parts.push(Part { name, start, length: end - start, waits });
        start = end;
    }
    Bar { total: start, parts }
}

/// The kinds of waits that there were.
pub(super) fn waits(waits: &Waits) -> impl Iterator<Item = PartWait> {
    let kinds = WaitKind::ALL.into_iter().map(move |kind| (kind.name(), waits.of(kind)));
    let all = kinds.chain([("ready", waits.ready())]);
    all.filter(|(_, wait)| wait.count != 0).map(|(name, wait)| PartWait {
        name,
        count: wait.count,
        time: wait.time,
    })
}

#[cfg(test)]
mod tests {
    use super::super::id::{SpanId, TraceId};
    use super::*;
    use bthread::WaitTotal;

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn parts_follow_each_other_to_the_end() {
        let mut record = SpanRecord::new(TraceId::new(), SpanId::new(), SpanKind::Server);
        let points = [
            (Point::Received, 10),
            (Point::Taken, 30),
            (Point::Entered, 35),
            (Point::Answered, 100),
            (Point::Serialised, 99),
            (Point::Written, 120),
        ];
        for (point, at) in points {
            record.points.set(point, us(at));
        }
        record.waits.add(WaitKind::Sleep, WaitTotal { count: 2, time: us(40) });
        record.waits.add_ready(WaitTotal { count: 2, time: us(3) });
        let bar = bar(&record);
        let shown: Vec<_> = bar.parts.iter().map(|part| (part.name, part.length.as_micros())).collect();
        assert_eq!(
            shown,
            [("read", 10), ("queue", 20), ("parse", 5), ("run", 65), ("serialise", 0), ("write", 20)]
        );
        assert_eq!((bar.total, record.latency()), (us(120), us(120)));
        let waits: Vec<_> = bar.parts[3].waits.iter().map(|wait| (wait.name, wait.count)).collect();
        assert_eq!(waits, [("sleep", 2), ("ready", 2)]);
        assert!(bar.parts.iter().enumerate().all(|(index, part)| index == 3 || part.waits.is_empty()));
    }

    #[test]
    fn what_was_not_noted_is_missing() {
        let mut record = SpanRecord::new(TraceId::new(), SpanId::new(), SpanKind::Client);
        assert_eq!(bar(&record), Bar { total: Duration::ZERO, parts: Vec::new() });
        record.points.set(Point::Serialised, us(5));
        record.points.set(Point::Ended, us(50));
        let shown: Vec<_> = bar(&record).parts.iter().map(|part| (part.name, part.length)).collect();
        assert_eq!(shown, [("serialise", us(5)), ("wake", us(45))]);
    }
}
