//! Spans as lines of text, with the words and places that scripts for brpc's `/rpcz` look for
//! (`spec/builtin-services.md` §9.3, §9.4).
//!
//! What peers sent is shown with its control characters replaced, so that it cannot pretend to be lines of ours.

use std::time::{Duration, UNIX_EPOCH};

use super::record::SpanRecord;
use super::tree::SpanTree;
use super::{flags, time};

/// The text for an answer without spans.
pub const NOTHING_FOUND: &str = "Fail to find matched spans";

/// Spaces in front of a line of a part, for each level.
const INDENT: usize = 2;

/// Appends the line that a list has for a span.
pub fn list_line(record: &SpanRecord, out: &mut String) {
    let mut line = format!(
        "{} {} {} trace={} span={} ",
        time::date_and_time(record.started()),
        elapsed(record.latency()),
        record.kind.letter(),
        record.trace_id,
        record.span_id
    );
    if let Some(id) = record.log_id {
        line += &format!("log_id={} ", log_id(id));
    }
    line += &format!(
        "{}({})={} {}",
        record.method,
        record.request_size,
        record.response_size,
        record.outcome_text()
    );
    push_line(&line, out);
}

/// Appends the steps of the spans of a trace: for each tree a line for what happened, then an empty one.
pub fn trace_text(trees: &[SpanTree], out: &mut String) {
    for tree in trees {
        let mut last = None;
        for event in tree.events() {
            let indent = " ".repeat(INDENT * event.depth);
            let at = UNIX_EPOCH + Duration::from_micros(event.at_micros);
            let line = match last {
                None => format!("{} {}", time::date_and_time(at), event.text),
                Some(last) => format!(
                    "{} {} {indent}[{} SPAN#{}] {}",
                    time::time_of_day(at),
                    elapsed(Duration::from_micros(event.at_micros - last)),
                    event.kind.name(),
                    event.span_id,
                    event.text
                ),
            };
            last = Some(event.at_micros);
            push_line(&line, out);
        }
        out.push('\n');
    }
}

/// Seconds and microseconds in ten places, leading zeros as spaces: `   .   105`.
fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("   .{:6}", time.subsec_micros()),
        seconds => format!("{seconds:3}.{:06}", time.subsec_micros()),
    }
}

/// As the flag `rpcz_hex_log_id` says.
pub(crate) fn log_id(id: u64) -> String {
    if flags::hex_log_id() { format!("0x{id:x}") } else { id.to_string() }
}

fn push_line(line: &str, out: &mut String) {
    out.extend(line.chars().map(|char| if char.is_control() { '?' } else { char }));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::id::SpanId;
    use super::super::record::{Annotation, Point, SpanKind};
    use super::*;
    use std::sync::Arc;

    /// A list and a trace as brpc shows them.
    fn sample() -> SpanRecord {
        let id = "12af0ab627930050";
        let mut record =
            SpanRecord::new(id.parse().unwrap(), id.parse::<SpanId>().unwrap(), SpanKind::Server);
        let now = std::time::SystemTime::now();
        let started = time::parse("2026/11/22-12:56:15.000949", now).unwrap();
        record.started_micros = super::super::store::micros(started);
        (record.request_size, record.response_size) = (260, 232);
        (record.log_id, record.protocol) = (Some(677), "baidu_std");
        (record.remote, record.method) = ("127.0.0.1:45790".into(), "example.EchoService.Echo".into());
        let points = [
            (Point::Received, 0),
            (Point::Taken, 17),
            (Point::Entered, 56),
            (Point::Answered, 71),
            (Point::Serialised, 80),
            (Point::Written, 105),
        ];
        for (point, at) in points {
            record.points.set(point, Duration::from_micros(at));
        }
        let text = "[pgsrv.cpp:21] echo 97 bytes".into();
        record.annotations.push(Annotation { at: Duration::from_micros(60), text });
        record
    }

    #[test]
    fn a_list_is_that_of_brpc() {
        let mut text = String::new();
        let mut record = sample();
        list_line(&record, &mut text);
        (record.error_code, record.error_text) = (1234, "Unknown error 1234".into());
        (record.kind, record.log_id) = (SpanKind::Client, None);
        record.points.set(Point::Ended, Duration::from_micros(12_000_345));
        list_line(&record, &mut text);
        assert_eq!(
            text,
            "2026/11/22-12:56:15.000949    .   105 S trace=12af0ab627930050 span=12af0ab627930050 log_id=677 \
             example.EchoService.Echo(260)=232 [OK]\n\
             2026/11/22-12:56:15.000949  12.000345 C trace=12af0ab627930050 span=12af0ab627930050 \
             example.EchoService.Echo(260)=232 [Unknown error 1234] \n"
        );
    }

    #[test]
    fn a_trace_is_that_of_brpc() {
        let mut text = String::new();
        trace_text(&[SpanTree { record: Arc::new(sample()), children: Vec::new() }], &mut text);
        assert_eq!(
            text,
            "2026/11/22-12:56:15.000949 Received request(260) from 127.0.0.1:45790 baidu_std log_id=677 \
             trace=12af0ab627930050 span=12af0ab627930050\n\
             12:56:15.000966    .    17 [Server SPAN#12af0ab627930050] Processing the request in a new bthread\n\
             12:56:15.001005    .    39 [Server SPAN#12af0ab627930050] Enter example.EchoService.Echo\n\
             12:56:15.001009    .     4 [Server SPAN#12af0ab627930050] [pgsrv.cpp:21] echo 97 bytes\n\
             12:56:15.001020    .    11 [Server SPAN#12af0ab627930050] Leave example.EchoService.Echo\n\
             12:56:15.001054    .    34 [Server SPAN#12af0ab627930050] Responded(232)\n\n"
        );
    }

    #[test]
    fn parts_stand_between_the_steps_of_the_whole() {
        let parent = sample();
        let mut call = SpanRecord::new(parent.trace_id, SpanId::from_u64(7).unwrap(), SpanKind::Client);
        call.started_micros = parent.started_micros + 65;
        (call.method, call.remote, call.protocol) = ("a.B.C".into(), "10.0.0.1:1".into(), "baidu_std");
        call.parent_id = Some(parent.span_id);
        call.points.set(Point::Received, Duration::from_micros(3));
        let children = vec![SpanTree { record: Arc::new(call), children: Vec::new() }];
        let mut text = String::new();
        trace_text(&[SpanTree { record: Arc::new(parent), children }], &mut text);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines[4],
            "12:56:15.001014    .     5   [Client SPAN#0000000000000007] Requesting a.B.C@10.0.0.1:1 baidu_std \
             trace=12af0ab627930050 span=0000000000000007 parent_span=12af0ab627930050"
        );
        assert!(lines[5].ends_with("[Client SPAN#0000000000000007] Received response(0)"), "{}", lines[5]);
        assert!(lines[6].contains("Leave"));
    }

    #[test]
    fn what_peers_sent_cannot_make_lines() {
        let mut record = sample();
        (record.error_code, record.error_text) = (1, "a\nb\r\u{1b}[2J".into());
        let mut text = String::new();
        list_line(&record, &mut text);
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with("[a?b??[2J] \n"), "{text}");
    }
}
