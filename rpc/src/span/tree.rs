//! The spans of a trace as the tree that they are: calls under the requests in which they were made.
//!
//! The ids come from peers: there may be two of the same, parents that are nowhere, and circles. Each span is in the
//! trees once, whatever the ids say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::id::SpanId;
use super::record::{Point, SpanKind, SpanRecord};

/// Levels of a tree; what is deeper becomes a tree of its own.
pub const DEPTH_MAX: usize = 32;

/// A span and those that are part of it.
#[derive(Clone, Debug)]
pub struct SpanTree {
    /// The span.
    pub record: Arc<SpanRecord>,
    /// Its parts, in the order in which they began.
    pub children: Vec<SpanTree>,
}

/// Something that happened in a span or in one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// Microseconds since 1970.
    pub at_micros: u64,
    /// 0 for the span itself, 1 for its parts, and so on.
    pub depth: usize,
    /// Which span.
    pub span_id: SpanId,
    /// Which side of the call that span tells of.
    pub kind: SpanKind,
    /// What happened; contains what peers sent.
    pub text: String,
}

impl SpanTree {
    /// The trees of the spans of one trace, which come in the order of their beginnings.
    pub(super) fn grow(records: Vec<Arc<SpanRecord>>) -> Vec<SpanTree> {
        let mut by_id = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            by_id.entry(record.span_id).or_insert(index);
        }
        let mut forest = Forest {
            children: vec![Vec::new(); records.len()],
            is_used: vec![false; records.len()],
            records,
        };
        let mut roots = Vec::new();
        for (index, record) in forest.records.iter().enumerate() {
            match record.parent_id.and_then(|parent| by_id.get(&parent)) {
                Some(parent) if *parent != index => forest.children[*parent].push(index),
                _ => roots.push(index),
            }
        }
        let mut trees: Vec<_> = roots.into_iter().map(|root| forest.take(root, DEPTH_MAX)).collect();
        // What is left hangs on a circle, or was too deep.
        for index in 0..forest.records.len() {
            if !forest.is_used[index] {
                trees.push(forest.take(index, DEPTH_MAX));
            }
        }
        trees.sort_by_key(|tree| tree.record.started_micros);
        trees
    }

    /// What happened in the span and its parts, in the order of time.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        self.collect(0, &mut events);
        events.sort_by_key(|event| event.at_micros); // stable: what happened together stays in its order
        events
    }

    fn collect(&self, depth: usize, into: &mut Vec<Event>) {
        let record = &*self.record;
        let mut add = |at: Duration, text: String| {
            let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            into.push(Event {
                at_micros: record.started_micros.saturating_add(micros),
                depth,
                span_id: record.span_id,
                kind: record.kind,
                text,
            });
        };
        let mut steps = match record.kind {
            SpanKind::Server => server_steps(record),
            SpanKind::Client => client_steps(record),
        };
        steps.extend(record.annotations.iter().map(|note| (note.at, note.text.to_string())));
        steps.sort_by_key(|(at, _)| *at);
        for (at, text) in steps {
            add(at, text);
        }
        if record.annotations_dropped != 0 {
            add(record.latency(), format!("{} more notes were not kept", record.annotations_dropped));
        }
        for child in &self.children {
            child.collect(depth + 1, into);
        }
    }
}

struct Forest {
    records: Vec<Arc<SpanRecord>>,
    children: Vec<Vec<usize>>,
    is_used: Vec<bool>,
}

impl Forest {
    fn take(&mut self, index: usize, levels_left: usize) -> SpanTree {
        self.is_used[index] = true;
        let mut children = Vec::new();
        if levels_left > 1 {
            for child in std::mem::take(&mut self.children[index]) {
                if !self.is_used[child] {
                    children.push(self.take(child, levels_left - 1));
                }
            }
        }
        SpanTree { record: self.records[index].clone(), children }
    }
}

type Step = (Duration, String);

/// `spec/builtin-services.md` §9.4, in the words that scripts look for.
fn server_steps(record: &SpanRecord) -> Vec<Step> {
    let method = &record.method;
    let mut steps = vec![(
        record.point(Point::Received).unwrap_or_default(),
        format!(
            "Received request({}) from {} {}{}",
            record.request_size,
            record.remote,
            record.protocol,
            ids(record)
        ),
    )];
    let mut add = |point, text: String| steps.extend(record.point(point).map(|at| (at, text)));
    add(Point::Taken, "Processing the request in a new bthread".to_owned());
    add(Point::Entered, format!("Enter {method}"));
    add(Point::Answered, format!("Leave {method}{}", waits_text(record)));
    add(Point::Written, format!("Responded({}){}", record.response_size, error_text(record)));
    steps
}

fn client_steps(record: &SpanRecord) -> Vec<Step> {
    let mut steps = vec![(
        Duration::ZERO,
        format!("Requesting {}@{} {}{}", record.method, record.remote, record.protocol, ids(record)),
    )];
    let mut add = |point, text: String| steps.extend(record.point(point).map(|at| (at, text)));
    let attempt = match record.attempts {
        0 | 1 => String::new(),
        attempts => format!(" of request[{}]", attempts - 1),
    };
    add(Point::Written, format!("Requested({})", record.request_size));
    add(Point::Received, format!("Received response({}){attempt}", record.response_size));
    add(Point::Ended, format!("Back to user's callsite{}", error_text(record)));
    steps
}

fn ids(record: &SpanRecord) -> String {
    let mut text = String::new();
    if let Some(log_id) = record.log_id {
        text += &format!(" log_id={}", super::text::log_id(log_id));
    }
    if !record.request_id.is_empty() {
        text += &format!(" request_id={}", record.request_id);
    }
    text += &format!(" trace={} span={}", record.trace_id, record.span_id);
    if let Some(parent) = record.parent_id {
        text += &format!(" parent_span={parent}");
    }
    text
}

fn error_text(record: &SpanRecord) -> String {
    if record.error_code == 0 { String::new() } else { format!(" {}", record.outcome_text().trim_end()) }
}

/// ` (waited: sleep 2x 5152us, ready 1x 12us)`, or nothing.
fn waits_text(record: &SpanRecord) -> String {
    let waits: Vec<_> = super::bar::waits(&record.waits)
        .map(|wait| format!("{} {}x {}us", wait.name, wait.count, wait.time.as_micros()))
        .collect();
    if waits.is_empty() { String::new() } else { format!(" (waited: {})", waits.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::super::id::TraceId;
    use super::*;
    use proptest::prelude::*;

    fn record(id: u64, parent: u64, started: u64) -> Arc<SpanRecord> {
        let trace = TraceId::from_u128(1).unwrap();
        let mut record = SpanRecord::new(trace, SpanId::from_u64(id).unwrap(), SpanKind::Server);
        record.parent_id = SpanId::from_u64(parent);
        record.started_micros = started;
        Arc::new(record)
    }

    fn shape(trees: &[SpanTree]) -> String {
        trees
            .iter()
            .map(|tree| format!("{}({})", tree.record.span_id.to_u64(), shape(&tree.children)))
            .collect()
    }

    #[test]
    fn parts_are_under_what_they_are_part_of() {
        let trees = SpanTree::grow(vec![record(1, 0, 0), record(2, 1, 1), record(3, 2, 2), record(4, 1, 3)]);
        assert_eq!(shape(&trees), "1(2(3())4())");
        let trees = SpanTree::grow(vec![record(2, 9, 1), record(3, 3, 2)]);
        assert_eq!(shape(&trees), "2()3()");
    }

    #[test]
    fn circles_are_cut() {
        let trees = SpanTree::grow(vec![record(1, 2, 0), record(2, 3, 1), record(3, 1, 2), record(1, 2, 3)]);
        assert_eq!(shape(&trees), "1(3(2(1())))");
    }

    fn count(trees: &[SpanTree]) -> usize {
        trees.iter().map(|tree| 1 + count(&tree.children)).sum()
    }

    proptest! {
        #[test]
        fn every_span_is_there_once(ids in proptest::collection::vec((1u64..40, 0u64..40), 0..100)) {
            let records = ids.iter().enumerate().map(|(at, (id, parent))| record(*id, *parent, at as u64));
            prop_assert_eq!(count(&SpanTree::grow(records.collect())), ids.len());
        }

        #[test]
        fn a_long_line_is_cut_into_pieces(len in 1u64..200) {
            let records = (1..=len).map(|id| record(id, id - 1, id));
            let trees = SpanTree::grow(records.collect());
            prop_assert_eq!(count(&trees), len as usize);
            prop_assert_eq!(trees.len(), (len as usize).div_ceil(DEPTH_MAX));
        }
    }
}
