//! `/rpcz`: sampled requests and calls, found by time, trace, latency or error, and where the time of each went
//! (`spec/builtin-services.md` §9).

use std::sync::Arc;

use serde_json::json;

use super::audit;
use super::clock;
use super::context::PageContext;
use super::fibers::field;
use super::frame;
use super::page::Page;
use super::reply::{EPERM, PageReply, one_line};
use super::request::PageRequest;
use super::rpcz_bar;
use super::sockets::preformatted;
use super::write::{Attr, Html, Url};
use crate::error::ENOMETHOD;
use crate::span::{self, Found, Query, SpanRecord, SpanTree};

pub(super) struct Rpcz;

impl Page for Rpcz {
    fn name(&self) -> &'static str {
        "rpcz"
    }

    fn about(&self) -> &'static str {
        "Recent calls, and where their time went"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        match request.rest.as_str() {
            "" => search(context, request),
            "stats" => preformatted(context, request, "rpcz", || span::stats().to_string()),
            "enable" => change(context, request, "rpcz is enabled", || span::enable(true)),
            "disable" => change(context, request, "rpcz is disabled", || span::enable(false)),
            "hex_log_id" => {
                change(context, request, "log_id is shown in hexadecimal", || span::set_hex_log_id(true))
            }
            "dec_log_id" => {
                change(context, request, "log_id is shown in decimal", || span::set_hex_log_id(false))
            }
            other => {
                let text = format!("There is no /rpcz/{}", other);
                PageReply::error(context, request, ENOMETHOD, text)
            }
        }
    }
}

fn change(context: &PageContext<'_>, request: &PageRequest, text: &'static str, act: fn()) -> PageReply {
    if let Err(denied) = context.may_change(request) {
        return PageReply::error(context, request, EPERM, denied.hint());
    }
    act();
    audit::record(context, text.to_owned());
    match request.is_html() {
        false => PageReply::text(text),
        true => frame::page(context, "rpcz", "/rpcz", |html| {
            html.paragraph("notice good", text);
            html.link(Url::page("/rpcz"), "back to rpcz");
        }),
    }
}

/// What is shown when nothing was ever sampled and nothing will be.
const DISABLED: &str =
    "rpcz is not enabled yet. It is switched on and off at /rpcz/enable and /rpcz/disable respectively.";

fn search(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    // An empty field of the form is none.
    let pairs = request.query.pairs().filter(|(_, value)| !value.is_empty());
    let found = Query::from_pairs(pairs).map(|query| span::find(&query));
    let is_dead = !span::is_enabled() && span::stats().spans == 0;
    if request.wants_json() {
        return json_form(found);
    }
    if request.is_html() {
        return frame::page(context, "rpcz", "/rpcz", |html| {
            controls(html);
            form(html, request);
            match &found {
                Err(error) => html.paragraph("notice bad", error),
                Ok(_) if is_dead => html.paragraph("notice", DISABLED),
                Ok(Found::List(records)) if records.is_empty() => {
                    html.paragraph("notice", span::NOTHING_FOUND)
                }
                Ok(Found::Trace(trees)) if trees.is_empty() => html.paragraph("notice", span::NOTHING_FOUND),
                Ok(Found::List(records)) => list(html, records),
                Ok(Found::Trace(trees)) => traces(html, trees),
            }
        });
    }
    let mut out = String::new();
    match found {
        Err(error) => out = one_line(&error.to_string()),
        Ok(_) if is_dead => out.push_str(DISABLED),
        Ok(Found::List(records)) => records.iter().for_each(|record| span::list_line(record, &mut out)),
        Ok(Found::Trace(trees)) => span::trace_text(&trees, &mut out),
    }
    if out.is_empty() {
        out.push_str(span::NOTHING_FOUND);
    }
    PageReply::text(out)
}

fn json_form(found: Result<Found, span::QueryError>) -> PageReply {
    match found {
        Err(error) => PageReply::json(&json!({ "error": error.to_string() })).with_status(400),
        Ok(Found::List(records)) => PageReply::json(
            &json!({ "spans": records.iter().map(|record| span_json(record)).collect::<Vec<_>>() }),
        ),
        Ok(Found::Trace(trees)) => {
            let mut spans = Vec::new();
            trees.iter().for_each(|tree| flatten(tree, 0, &mut spans));
            let spans: Vec<_> = spans.into_iter().map(|(record, _)| span_json(record)).collect();
            PageReply::json(&json!({ "spans": spans }))
        }
    }
}

fn span_json(record: &SpanRecord) -> serde_json::Value {
    let parts = span::bar(record).parts.into_iter().map(|part| {
        let waits = part.waits.iter().map(
            |wait| json!({ "name": wait.name, "count": wait.count, "us": wait.time.as_micros() as u64 }),
        );
        json!({
            "name": part.name,
            "start_us": part.start.as_micros() as u64,
            "us": part.length.as_micros() as u64,
            "waits": waits.collect::<Vec<_>>(),
        })
    });
    let notes = record
        .annotations
        .iter()
        .map(|note| json!({ "at_us": note.at.as_micros() as u64, "text": note.text }));
    json!({
        "trace": record.trace_id.to_string(),
        "span": record.span_id.to_string(),
        "parent": record.parent_id.map(|id| id.to_string()),
        "side": record.kind.name(),
        "started_us": record.started_micros,
        "latency_us": record.latency().as_micros() as u64,
        "log_id": record.log_id,
        "request_id": record.request_id,
        "method": record.method,
        "remote": record.remote,
        "protocol": record.protocol,
        "error_code": record.error_code,
        "error_text": record.error_text,
        "request_size": record.request_size,
        "response_size": record.response_size,
        "parts": parts.collect::<Vec<_>>(),
        "annotations": notes.collect::<Vec<_>>(),
    })
}

/// Switches, as forms that are posted.
fn controls(html: &mut Html) {
    let button = |html: &mut Html, path: &'static str, text: &'static str| {
        let action = Attr::Url("action", Url::page(path));
        html.element("form", &[Attr::Is("method", "post"), Attr::Is("class", "inline"), action], |html| {
            html.element("button", &[], |html| _ = html.text(text));
        });
    };
    html.element("div", &[Attr::Is("class", "tools")], |html| {
        match span::is_enabled() {
            true => button(html, "/rpcz/disable", "Disable"),
            false => button(html, "/rpcz/enable", "Enable"),
        }
        match span::hex_log_id() {
            true => button(html, "/rpcz/dec_log_id", "log_id in decimal"),
            false => button(html, "/rpcz/hex_log_id", "log_id in hexadecimal"),
        }
        html.link(Url::page("/rpcz/stats"), "stats");
        let stats = span::stats();
        html.element("span", &[Attr::Is("class", "dim")], |html| {
            html.text(stats.spans)
                .text(" kept, ")
                .text(format_args!("{:.2}", span::sampling_ratio() * 100.0));
            html.text("% of requests sampled");
        });
    });
}

fn form(html: &mut Html, request: &PageRequest) {
    const FIELDS: &[(&str, &str)] = &[
        ("time", "not after"),
        ("min_latency", "at least µs"),
        ("method", "method"),
        ("error_code", "error code"),
        ("log_id", "log_id"),
        ("trace", "trace"),
        ("max_scan", "scan"),
    ];
    let action = Attr::Url("action", Url::page("/rpcz"));
    html.element("form", &[Attr::Is("class", "tools"), Attr::Is("role", "search"), action], |html| {
        for (name, label) in FIELDS {
            field(html, name, label, &request.query.get(name).unwrap_or(""));
        }
        html.element("button", &[], |html| _ = html.text("Search"));
        html.link(Url::page("/rpcz"), "newest");
    });
}

fn trace_url(record: &SpanRecord) -> Url {
    Url::page("/rpcz").with("trace", record.trace_id)
}

fn list(html: &mut Html, records: &[Arc<SpanRecord>]) {
    rpcz_bar::legend(html);
    let headings = [
        "Time",
        "µs",
        "Side",
        "Method",
        "Where the time went",
        "Request",
        "Response",
        "Outcome",
        "log_id",
        "Trace",
    ];
    html.table(&headings, |html| {
        for record in records {
            html.row(|html| {
                html.element("td", &[Attr::Is("class", "time")], |html| {
                    html.link(trace_url(record).with("span", record.span_id), clock::stamp(record.started()));
                });
                html.number(record.latency().as_micros());
                html.cell(record.kind.letter());
                html.cell(&record.method);
                html.element("td", &[Attr::Is("class", "bar")], |html| {
                    rpcz_bar::draw(html, &span::bar(record));
                });
                html.number(record.request_size);
                html.number(record.response_size);
                html.leaf("td", outcome_class(record), record.outcome_text());
                html.cell(record.log_id.map_or_else(String::new, span::log_id));
                html.link_cell(trace_url(record), record.trace_id);
            });
        }
    });
}

fn outcome_class(record: &SpanRecord) -> &'static str {
    if record.error_code == 0 { "good" } else { "bad" }
}

/// The spans of a tree from its top, with their levels.
fn flatten<'a>(tree: &'a SpanTree, depth: usize, into: &mut Vec<(&'a SpanRecord, usize)>) {
    into.push((&tree.record, depth));
    tree.children.iter().for_each(|child| flatten(child, depth + 1, into));
}

fn traces(html: &mut Html, trees: &[SpanTree]) {
    let mut spans = Vec::new();
    trees.iter().for_each(|tree| flatten(tree, 0, &mut spans));
    rpcz_bar::legend(html);
    rpcz_bar::waterfall(html, &spans);
    for tree in trees {
        let record = &tree.record;
        html.element("section", &[Attr::Is("class", "card")], |html| {
            html.element("h3", &[], |html| {
                html.text(&record.method).text(" ");
                html.leaf("small", outcome_class(record), record.outcome_text());
            });
            rpcz_bar::parts(html, &span::bar(record));
            events(html, tree);
        });
    }
}

fn events(html: &mut Html, tree: &SpanTree) {
    let mut last = None;
    html.element("table", &[Attr::Is("class", "events")], |html| {
        html.element("tbody", &[], |html| {
            for event in tree.events() {
                let at = std::time::UNIX_EPOCH + std::time::Duration::from_micros(event.at_micros);
                let since = last.map(|last| event.at_micros.saturating_sub(last));
                last = Some(event.at_micros);
                html.row(|html| {
                    html.leaf("td", "time", clock::stamp(at));
                    html.number(since.map_or_else(String::new, |since| format!("+{since}")));
                    html.leaf(
                        "td",
                        "",
                        format_args!(
                            "{}[{} SPAN#{}] {}",
                            "\u{2003}".repeat(event.depth),
                            event.kind.name(),
                            event.span_id,
                            event.text
                        ),
                    );
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_well_formed, browse, fake_server, get, text_of};
    use super::*;
    use crate::span::{SpanId, SpanKind, TraceId};

    const EVIL: &str = "\"'><script>alert(1)</script>\n";

    fn evil_record() -> SpanRecord {
        let mut record = SpanRecord::new(TraceId::new(), SpanId::new(), SpanKind::Server);
        record.method = EVIL.into();
        record.remote = EVIL.into();
        record.request_id = EVIL.into();
        record.error_text = EVIL.into();
        record.error_code = 1;
        record.annotations =
            vec![span::Annotation { at: std::time::Duration::from_micros(5), text: EVIL.into() }];
        record
    }

    #[test]
    fn nothing_that_a_peer_sent_is_markup() {
        let record = Arc::new(evil_record());
        let mut html = Html::fragment();
        list(&mut html, std::slice::from_ref(&record));
        traces(&mut html, &[SpanTree { record, children: Vec::new() }]);
        let text = html.finish();
        assert!(text.contains("&lt;script&gt;alert(1)") && !text.contains("<script"), "{text}");
        assert_well_formed(&text);
        let reply = PageReply::json(&span_json(&evil_record()));
        assert!(!text_of(&reply).contains('<'));
    }

    #[test]
    fn queries_are_shown_escaped() {
        let server = fake_server();
        for name in ["time", "min_latency", "method", "error_code", "log_id", "trace", "span", "max_scan"] {
            let html = server.html(&format!("/rpcz?{name}=%22%27%3E%3Cscript%3Ealert(1)%3C/script%3E"));
            assert!(!html.contains("<script>"), "{name}");
        }
        assert!(!server.text("/rpcz?time=yesterday").is_empty());
        assert_eq!(server.ask(&get("/rpcz?time=yesterday")).status, 200);
        assert_eq!(server.ask(&get("/rpcz?time=yesterday&format=json")).status, 400);
    }

    #[test]
    fn a_trace_that_is_not_there_says_so() {
        let server = fake_server();
        let text = server.text("/rpcz?trace=123456789abcdef0");
        assert!(text == span::NOTHING_FOUND || text == DISABLED, "{text}");
        assert!(server.text("/rpcz/stats").contains("spans : "));
    }

    #[test]
    fn switches_need_a_right_to_change() {
        let server = fake_server();
        let was = span::hex_log_id();
        assert_eq!(server.text("/rpcz/dec_log_id"), "log_id is shown in decimal");
        assert_eq!(server.text("/rpcz/enable"), "rpcz is enabled");
        assert!(span::is_enabled());
        let mut request = browse("/rpcz/disable");
        request.is_cross_site = true;
        assert_eq!(server.ask(&request).status, 403);
        assert!(span::is_enabled());
        span::set_hex_log_id(was);
        assert_eq!(server.ask(&get("/rpcz/%3Cscript%3E")).status, 404);
    }
}
