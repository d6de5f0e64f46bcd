//! The bars of `/rpcz`: the time of a request in its parts, drawn without a script.

use std::time::Duration;

use super::clock;
use super::write::{Attr, Html};
use crate::span::{self, Bar, SpanRecord};

/// Width of a bar in units of its own; the page stretches it.
const WIDTH: f64 = 1000.0;
/// Height of a bar.
const HEIGHT: &str = "10";
/// Spans that one picture of a trace shows.
const WATERFALL_MAX: usize = 200;

/// The colour of a part.
fn class(name: &str) -> &'static str {
    match name {
        "read" => "part read",
        "queue" => "part queue",
        "parse" => "part parse",
        "run" => "part run",
        "serialise" => "part serialise",
        "write" => "part write",
        "send" => "part send",
        "wait" => "part wait",
        "wake" => "part wake",
        _ => "part",
    }
}

/// Which colour is what.
pub(super) fn legend(html: &mut Html) {
    html.element("p", &[Attr::Is("class", "legend")], |html| {
        for name in ["read", "queue", "parse", "run", "serialise", "write", "send", "wait", "wake"] {
            html.leaf("span", class(name), name);
        }
        html.leaf("span", "part waits", "waits inside run");
    });
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A bar of full width.
pub(super) fn draw(html: &mut Html, bar: &Bar) {
    draw_from(html, bar, Duration::ZERO, bar.total);
}

/// A bar that begins at `offset` in a picture of `total`.
fn draw_from(html: &mut Html, bar: &Bar, offset: Duration, total: Duration) {
    let scale = WIDTH / micros(total).max(1.0);
    let label = bar.parts.iter().map(|part| format!("{} {}", part.name, clock::length(part.length)));
    let label = label.collect::<Vec<_>>().join(", ");
    let attrs = [
        Attr::Is("viewBox", "0 0 1000 10"),
        Attr::Is("preserveAspectRatio", "none"),
        Attr::Is("role", "img"),
        Attr::Text("aria-label", &label),
    ];
    html.element("svg", &attrs, |html| {
        html.element("title", &[], |html| _ = html.text(&label));
        for part in &bar.parts {
            let start = micros(offset + part.start) * scale;
            let length = micros(part.length) * scale;
            rectangle(html, class(part.name), start, length);
            // Waits come from several moments of the part; here they stand at its beginning, one after the other.
            let mut inner = start;
            for wait in &part.waits {
                let width = (micros(wait.time) * scale).min(start + length - inner);
                rectangle(html, "part waits", inner, width.max(0.0));
                inner += width;
            }
        }
    });
}

fn rectangle(html: &mut Html, class: &'static str, start: f64, length: f64) {
    let (x, width) = (format!("{start:.2}"), format!("{length:.2}"));
    let attrs = [
        Attr::Is("class", class),
        Attr::Text("x", &x),
        Attr::Is("y", "0"),
        Attr::Text("width", &width),
        Attr::Is("height", HEIGHT),
    ];
    html.element("rect", &attrs, |_| {});
}

/// All spans of a trace below each other, each where it was in time.
pub(super) fn waterfall(html: &mut Html, spans: &[(&SpanRecord, usize)]) {
    let begin = spans.iter().map(|(record, _)| record.started_micros).min().unwrap_or(0);
    let offset = |record: &SpanRecord| Duration::from_micros(record.started_micros.saturating_sub(begin));
    let total = spans.iter().map(|(record, _)| offset(record) + record.latency()).max().unwrap_or_default();
    html.element("table", &[Attr::Is("class", "waterfall")], |html| {
        html.element("tbody", &[], |html| {
            for (record, depth) in spans.iter().take(WATERFALL_MAX) {
                html.row(|html| {
                    html.cell(format_args!(
                        "{}{} {}",
                        "\u{2003}".repeat(*depth),
                        record.kind.letter(),
                        record.method
                    ));
                    html.length(record.latency());
                    html.element("td", &[Attr::Is("class", "bar wide")], |html| {
                        draw_from(html, &span::bar(record), offset(record), total);
                    });
                });
            }
        });
    });
    if spans.len() > WATERFALL_MAX {
        html.paragraph("notice", format_args!("{} more spans are not drawn.", spans.len() - WATERFALL_MAX));
    }
}

/// The parts of one span as a table, with the waits inside.
pub(super) fn parts(html: &mut Html, bar: &Bar) {
    let whole = micros(bar.total).max(1.0);
    html.element("table", &[Attr::Is("class", "parts")], |html| {
        html.element("tbody", &[], |html| {
            for part in &bar.parts {
                html.row(|html| {
                    html.element("td", &[], |html| html.leaf("span", class(part.name), part.name));
                    html.number(format_args!("{} µs", part.length.as_micros()));
                    html.number(format_args!("{:.1}%", micros(part.length) * 100.0 / whole));
                    html.element("td", &[Attr::Is("class", "dim")], |html| {
                        for (index, wait) in part.waits.iter().enumerate() {
                            html.text(if index == 0 { "waited: " } else { ", " });
                            html.text(format_args!(
                                "{} {}× {}",
                                wait.name,
                                wait.count,
                                clock::length(wait.time)
                            ));
                        }
                    });
                });
            }
        });
    });
}
