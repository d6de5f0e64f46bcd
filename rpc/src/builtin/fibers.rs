//! `/fibers`: all bthreads of the process, with what each waits for and for how long; or how many stand at the same place.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use bthread::trace::StackTrace;
use bthread::{BthreadInfo, BthreadState, TaskId, WaitsFor};
use serde_json::json;

use super::clock;
use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::stacks;
use super::write::{Attr, Html, Url};
use crate::span::TraceId;

/// Bthreads on one page unless `limit` says otherwise, and the most that it can say.
const LIMIT_DEFAULT: usize = 200;
const LIMIT_MAX: usize = 5000;
/// Bthreads whose stacks are read for one page of groups.
const TRACED_MAX: usize = 2000;
/// Groups that are shown, the largest ones.
const GROUPS_MAX: usize = 50;

pub(super) struct Fibers;

impl Page for Fibers {
    fn name(&self) -> &'static str {
        "fibers"
    }

    fn about(&self) -> &'static str {
        "All bthreads: what each waits for, since when, and for which request"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let filter = Filter::of(request);
        let all = bthread::bthreads();
        let total = all.len();
        let mut wanted: Vec<_> = all.into_iter().filter(|one| filter.has(one)).collect();
        wanted.sort_by_key(|one| Reverse(one.age));
        if request.query.get("group") == Some("stack") {
            return grouped(context, request, &wanted);
        }
        let found = wanted.len();
        let shown: Vec<_> = wanted.into_iter().skip(filter.offset).take(filter.limit).collect();
        let page = List { total, found, shown, filter };
        if request.wants_json() {
            page.json()
        } else if request.is_html() {
            page.html(context)
        } else {
            page.text()
        }
    }
}

/// What is asked for, from the query.
struct Filter {
    /// `queued`, `running`, `ready` or `waiting`.
    state: Option<String>,
    /// What is waited for: `butex`, `sleep`, `join`, `channel`, `future`, `blocking`, `io`.
    wait: Option<String>,
    /// A part of the name.
    name: Option<String>,
    /// A runtime and perhaps a worker: `0` or `0-3`.
    home: Option<String>,
    /// A trace id in hexadecimal.
    trace: Option<u128>,
    min_age: Duration,
    min_waited: Duration,
    offset: usize,
    limit: usize,
}

impl Filter {
    fn of(request: &PageRequest) -> Filter {
        let text = |name| request.query.get(name).filter(|value| !value.is_empty()).map(str::to_owned);
        let number = |name| request.query.get(name).and_then(|value| value.trim().parse::<u64>().ok());
        let bound =
            |name, default| number(name).map_or(default, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Filter {
            state: text("state"),
            wait: text("wait"),
            name: text("name"),
            home: text("home"),
            trace: text("trace").and_then(|id| u128::from_str_radix(&id, 16).ok()),
            min_age: Duration::from_millis(number("min_age_ms").unwrap_or(0)),
            min_waited: Duration::from_millis(number("min_waited_ms").unwrap_or(0)),
            offset: bound("offset", 0),
            limit: bound("limit", LIMIT_DEFAULT).clamp(1, LIMIT_MAX),
        }
    }

    fn has(&self, one: &BthreadInfo) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        let is_home = |wanted: &str| {
            let home = home(one);
            wanted == home || home.split_once('-').is_some_and(|(tag, _)| wanted == tag)
        };
        is(&self.state, state(one.state))
            && is(&self.wait, wait(one.state))
            && self.home.as_deref().is_none_or(is_home)
            && self
                .name
                .as_deref()
                .is_none_or(|part| one.name.as_deref().is_some_and(|name| name.contains(part)))
            && self.trace.is_none_or(|id| one.trace_id == id)
            && one.age >= self.min_age
            && one.waited >= self.min_waited
    }

    /// This page from another bthread on.
    fn url(&self, offset: usize) -> Url {
        let mut url = Url::page("/fibers");
        let texts =
            [("state", &self.state), ("wait", &self.wait), ("name", &self.name), ("home", &self.home)];
        for (name, value) in texts {
            if let Some(value) = value {
                url = url.with(name, value);
            }
        }
        if let Some(trace) = self.trace {
            url = url.with("trace", format_args!("{trace:x}"));
        }
        url.with("min_age_ms", self.min_age.as_millis())
            .with("min_waited_ms", self.min_waited.as_millis())
            .with("limit", self.limit)
            .with("offset", offset)
    }
}

fn state(state: BthreadState) -> &'static str {
    match state {
        BthreadState::Queued => "queued",
        BthreadState::Running => "running",
        BthreadState::Ready => "ready",
        BthreadState::Waiting(_) => "waiting",
        _ => "other",
    }
}

fn wait(state: BthreadState) -> &'static str {
    match state {
        BthreadState::Waiting(what) => match what {
            WaitsFor::Butex(_) => "butex",
            WaitsFor::Sleep => "sleep",
            WaitsFor::Join(_) => "join",
            WaitsFor::Channel => "channel",
            WaitsFor::Future => "future",
            WaitsFor::Blocking => "blocking",
            WaitsFor::Io => "io",
            _ => "other",
        },
        _ => "",
    }
}

/// `0-3`: worker 3 of the runtime 0.
fn home(one: &BthreadInfo) -> String {
    one.home.map_or_else(|| "-".to_owned(), |home| format!("{}-{}", home.tag, home.worker))
}

fn name(one: &BthreadInfo) -> String {
    one.name.as_deref().map_or_else(|| "-".to_owned(), one_line)
}

/// As `/rpcz` writes trace ids.
fn trace_text(id: u128) -> String {
    TraceId::from_u128(id).map_or_else(|| "-".to_owned(), |id| id.to_string())
}

struct List {
    total: usize,
    found: usize,
    shown: Vec<BthreadInfo>,
    filter: Filter,
}

impl List {
    fn text(&self) -> PageReply {
        let mut out = format!("bthread_count: {}\nmatching: {}\n", self.total, self.found);
        _ = writeln!(out, "Id | Name | State | Age | Waited | Home | Trace");
        for one in &self.shown {
            _ = writeln!(
                out,
                "{} | {} | {} | {} | {} | {} | {}",
                one.id,
                name(one),
                one.state,
                clock::length(one.age),
                clock::length(one.waited),
                home(one),
                trace_text(one.trace_id)
            );
        }
        let behind = self.filter.offset.saturating_add(self.shown.len());
        if behind < self.found {
            _ = writeln!(out, "# {} more: ?offset={behind}", self.found - behind);
        }
        PageReply::text(out)
    }

    fn json(&self) -> PageReply {
        let rows = self.shown.iter().map(|one| {
            json!({
                "id": one.id.as_u64(),
                "name": one.name,
                "state": state(one.state),
                "waits_for": wait(one.state),
                "age_ms": one.age.as_millis() as u64,
                "waited_ms": one.waited.as_millis() as u64,
                "home": home(one),
                "trace": trace_text(one.trace_id),
                "interrupted": one.interrupted,
                "stopped": one.stopped,
            })
        });
        let rows: Vec<_> = rows.collect();
        PageReply::json(&json!({ "total": self.total, "matching": self.found, "bthreads": rows }))
    }

    fn html(&self, context: &PageContext<'_>) -> PageReply {
        frame::page(context, "fibers", "/fibers", |html| {
            self.form(html);
            html.element("p", &[Attr::Is("class", "dim")], |html| {
                html.text(self.found).text(" of ").text(self.total).text(" bthreads match. ");
                html.link(self.filter.url(0).with("group", "stack"), "Group by stack");
            });
            html.table(&["Id", "Name", "State", "Age", "Waited", "Home", "Trace"], |html| {
                self.shown.iter().for_each(|one| row(html, one));
            });
            let behind = self.filter.offset.saturating_add(self.shown.len());
            if behind < self.found {
                html.link(self.filter.url(behind), "more");
            }
        })
    }

    fn form(&self, html: &mut Html) {
        let action = Attr::Url("action", Url::page("/fibers"));
        html.element("form", &[Attr::Is("class", "tools"), Attr::Is("role", "search"), action], |html| {
            let filter = &self.filter;
            let choices: [(&'static str, &Option<String>, &[&'static str]); 2] = [
                ("state", &filter.state, &["queued", "running", "ready", "waiting"]),
                ("wait", &filter.wait, &["butex", "sleep", "join", "channel", "future", "blocking", "io"]),
            ];
            for (name, value, options) in choices {
                html.element("label", &[], |html| {
                    html.text(name).text(" ");
                    html.element("select", &[Attr::Is("name", name)], |html| {
                        html.element("option", &[Attr::Is("value", "")], |html| _ = html.text("any"));
                        for option in options {
                            let mut attrs = vec![Attr::Is("value", option)];
                            let is_chosen = value.as_deref() == Some(option);
                            attrs.extend(is_chosen.then_some(Attr::Flag("selected")));
                            html.element("option", &attrs, |html| _ = html.text(option));
                        }
                    });
                });
            }
            let min_age = filter.min_age.as_millis();
            let min_waited = filter.min_waited.as_millis();
            let (part, home) = (filter.name.as_deref().unwrap_or(""), filter.home.as_deref().unwrap_or(""));
            field(html, "name", "name", &part);
            field(html, "home", "home", &home);
            field(html, "min_age_ms", "older than (ms)", &min_age);
            field(html, "min_waited_ms", "waits longer than (ms)", &min_waited);
            html.element("button", &[], |html| _ = html.text("Show"));
        });
    }
}

/// A field of a form with a label.
pub(super) fn field(html: &mut Html, name: &'static str, label: &'static str, value: &dyn std::fmt::Display) {
    html.element("label", &[], |html| {
        html.text(label).text(" ");
        html.void("input", &[Attr::Is("name", name), Attr::Text("value", value)]);
    });
}

fn row(html: &mut Html, one: &BthreadInfo) {
    html.row(|html| {
        html.link_cell(Url::below("/bthreads", one.id).with("st", 1), one.id);
        html.cell(name(one));
        html.cell(one.state);
        html.length(one.age);
        html.length(one.waited);
        html.cell(home(one));
        match TraceId::from_u128(one.trace_id) {
            None => html.cell("-"),
            Some(id) => html.link_cell(Url::page("/rpcz").with("trace", id), id),
        }
    });
}

/// Bthreads that stand at the same place.
struct Group {
    waits_for: &'static str,
    count: usize,
    longest: Duration,
    /// One of them.
    example: TaskId,
    trace: StackTrace,
    /// The trace as text, once it is made.
    stack: String,
}

/// The largest groups, and how many bthreads were looked at.
fn groups(wanted: &[BthreadInfo]) -> (Vec<Group>, usize) {
    let mut groups: HashMap<(Vec<usize>, &'static str), Group> = HashMap::new();
    let mut traced = 0;
    let waiting = wanted.iter().filter(|one| matches!(one.state, BthreadState::Waiting(_)));
    for one in waiting.take(TRACED_MAX) {
        let Some(trace) = bthread::stack_trace(one.id) else { continue };
        traced += 1;
        let waits_for = wait(one.state);
        let group = groups.entry((trace.frames().to_vec(), waits_for)).or_insert_with(|| Group {
            waits_for,
            count: 0,
            longest: Duration::ZERO,
            example: one.id,
            trace,
            stack: String::new(),
        });
        group.count += 1;
        group.longest = group.longest.max(one.waited);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| (Reverse(group.count), group.example));
    groups.truncate(GROUPS_MAX);
    let texts = stacks::texts(&groups.iter().map(|group| group.trace.clone()).collect::<Vec<_>>());
    for (group, text) in groups.iter_mut().zip(texts) {
        group.stack = text;
    }
    (groups, traced)
}

fn grouped(context: &PageContext<'_>, request: &PageRequest, wanted: &[BthreadInfo]) -> PageReply {
    let (groups, traced) = groups(wanted);
    if request.wants_json() {
        let rows = groups.iter().map(|group| {
            json!({
                "count": group.count,
                "waits_for": group.waits_for,
                "longest_ms": group.longest.as_millis() as u64,
                "example": group.example.as_u64(),
                "stack": group.stack,
            })
        });
        return PageReply::json(&json!({ "traced": traced, "groups": rows.collect::<Vec<_>>() }));
    }
    let summary = format!("{traced} waiting bthreads looked at, {} places shown", groups.len());
    let line = |group: &Group| {
        format!(
            "{} wait for {} here, the longest for {} (bthread {})",
            group.count,
            group.waits_for,
            clock::length(group.longest),
            group.example
        )
    };
    if !request.is_html() {
        let mut out = format!("{summary}\n");
        for group in &groups {
            _ = write!(out, "\n{}\n{}", line(group), group.stack);
        }
        return PageReply::text(out);
    }
    frame::page(context, "fibers by stack", "/fibers", |html| {
        html.paragraph("dim", &summary);
        for group in &groups {
            html.element("section", &[Attr::Is("class", "card")], |html| {
                html.leaf("h3", "", line(group));
                html.leaf("pre", "", &group.stack);
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fake_server, get, text_of};
    use super::*;

    fn sleeps_here() {
        bthread::sleep(Duration::MAX);
    }

    /// Three bthreads of that name, which wait.
    fn sleepers(name: &str) -> Vec<bthread::JoinHandle<()>> {
        let spawn = || bthread::Builder::new().name(name).spawn(sleeps_here).unwrap();
        let sleepers: Vec<_> = (0..3).map(|_| spawn()).collect();
        for sleeper in &sleepers {
            while bthread::stack_trace(sleeper.id()).is_none() {
                std::thread::yield_now();
            }
        }
        sleepers
    }

    fn end(sleepers: Vec<bthread::JoinHandle<()>>) {
        for sleeper in sleepers {
            bthread::stop(sleeper.id());
            sleeper.join().unwrap();
        }
    }

    #[test]
    fn bthreads_are_listed_filtered_and_paged() {
        let sleepers = sleepers("<script>fiber\n");
        let server = fake_server();
        let text = server.text("/fibers?name=%3Cscript%3Efiber&limit=2");
        assert!(text.contains("matching: 3\nId | Name | State | Age | Waited | Home | Trace\n"), "{text}");
        assert!(text.contains(" | <script>fiber\\n | waiting for a time | "), "{text}");
        assert!(text.ends_with("# 1 more: ?offset=2\n"), "{text}");
        assert!(server.text("/fibers?name=%3Cscript%3Efiber&state=running").contains("matching: 0\n"));
        assert!(server.text("/fibers?name=%3Cscript%3Efiber&wait=sleep").contains("matching: 3\n"));
        assert!(
            server.text("/fibers?name=%3Cscript%3Efiber&min_waited_ms=3600000").contains("matching: 0\n")
        );
        let html = server.html("/fibers?name=%3Cscript%3Efiber&limit=2");
        assert!(html.contains("&lt;script&gt;fiber") && !html.contains("<script>"));
        assert!(html.contains("offset=2\">more"));
        let json = text_of(&server.ask(&get("/fibers?format=json&name=fiber&state=waiting")));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(json["bthreads"][0]["waits_for"] == "sleep");
        end(sleepers);
    }

    #[test]
    fn bthreads_at_one_place_are_one_group() {
        let sleepers = sleepers("grouped");
        let server = fake_server();
        let text = server.text("/fibers?name=grouped&group=stack");
        assert!(text.contains("3 wait for sleep here") && text.contains("sleeps_here"), "{text}");
        assert!(server.html("/fibers?name=grouped&group=stack").contains("sleeps_here"));
        end(sleepers);
    }
}
