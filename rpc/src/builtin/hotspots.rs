//! `/hotspots`: profiles as flame graphs, tables and files (`spec/builtin-services.md` §10). Nothing is run beside this
//! process, no query reaches a command line, and profiles are named by numbers, not by paths.

use std::fmt::Write as _;
use std::time::Duration;

use profile::{Kind, Profile, Value};

use super::clock;
use super::context::PageContext;
use super::frame;
use super::history;
use super::page::Page;
use super::profiling::{self, Failure, SECONDS_DEFAULT};
use super::reply::{BYTES, EPERM, JSON, PageReply};
use super::request::PageRequest;
use super::write::{Attr, Html, Url};
use crate::error::{EINVAL, ENOMETHOD};

/// Rows of the table of functions.
const TOP_ROWS: usize = 100;

/// The kinds of profiles and where they are.
const KINDS: [(Kind, &str); 5] = [
    (Kind::Cpu, "/hotspots/cpu"),
    (Kind::Heap, "/hotspots/heap"),
    (Kind::Growth, "/hotspots/growth"),
    (Kind::Contention, "/hotspots/contention"),
    (Kind::OffCpu, "/hotspots/offcpu"),
];

pub(super) struct Hotspots;

/// How a profile is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Display {
    Flame,
    Text,
    Pprof,
}

impl Page for Hotspots {
    fn name(&self) -> &'static str {
        "hotspots"
    }

    fn about(&self) -> &'static str {
        "Profiles as flame graphs"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let fail = |failure: Failure| PageReply::error(context, request, failure.code, failure.text);
        // brpc's scripts ask for the contents of a page under another name.
        let name = request.rest.strip_suffix("_non_responsive").unwrap_or(&request.rest);
        if let Some(rest) = name.strip_prefix("history") {
            return history::serve(context, request, rest).unwrap_or_else(fail);
        }
        let Some((kind, path)) = KINDS.into_iter().find(|(kind, _)| kind.name() == name) else {
            let text = format!("There is no profiler `{}'", name);
            return PageReply::error(context, request, ENOMETHOD, text);
        };
        of_kind(context, request, kind, path).unwrap_or_else(fail)
    }
}

/// What is wanted of a profile; shared with the history.
pub(super) fn display(request: &PageRequest) -> Result<Display, Failure> {
    match request.query.get("display_type") {
        Some("text") => Ok(Display::Text),
        Some("pprof") => Ok(Display::Pprof),
        Some("flame") => Ok(Display::Flame),
        None | Some("" | "dot") if request.is_html() || request.wants_json() => Ok(Display::Flame),
        None | Some("" | "dot") => Ok(Display::Text),
        Some(_) => Err(Failure::new(EINVAL, "display_type is one of flame, text, pprof")),
    }
}

fn value(request: &PageRequest) -> Value {
    if request.query.has("ccount") { Value::Count } else { Value::Amount }
}

fn of_kind(
    context: &PageContext<'_>,
    request: &PageRequest,
    kind: Kind,
    path: &'static str,
) -> Result<PageReply, Failure> {
    let display = display(request)?;
    let duration = profiling::seconds(request)?.unwrap_or(Duration::from_secs(SECONDS_DEFAULT));
    let view = number(request, "view")?;
    let base = number(request, "base")?.map(|id| kept(kind, id)).transpose()?;
    if display == Display::Flame && request.is_html() && !request.wants_json() {
        let graph = match view {
            Some(id) => kept(kind, id).map(|_| Graph::Kept(id)),
            // Taken at once: it does not last, and where there is none the page says why.
            None if is_snapshot(kind) && !request.is_cross_site => match profiling::take(kind, duration) {
                Ok(taken) => Ok(Graph::Kept(taken.id)),
                Err(failure) if failure.code == EPERM => Ok(Graph::None(failure.text)),
                Err(failure) => Err(failure),
            },
            None => Ok(Graph::New(duration)),
        };
        return Ok(frame(context, request, kind, path, &graph?));
    }
    let (id, profile) = match view {
        Some(id) => (id, kept(kind, id)?),
        None => {
            profiling::may_start(request)?;
            let taken = profiling::take(kind, duration)?;
            (taken.id, taken.profile)
        }
    };
    let profile = match base {
        Some(base) => profile.minus(&base).ok_or_else(|| Failure::new(EINVAL, "base is of another kind"))?,
        None => profile,
    };
    let reply = show(context, request, &profile, display, path, kind.name());
    Ok(reply.with_header("x-profile-id", id.to_string()))
}

/// A profile in the form that is wanted. Parks the bthread while names are looked up.
pub(super) fn show(
    context: &PageContext<'_>,
    request: &PageRequest,
    profile: &Profile,
    display: Display,
    path: &'static str,
    title: &str,
) -> PageReply {
    let value = value(request);
    match display {
        Display::Pprof => PageReply::new(BYTES, profile.to_pprof())
            .with_header("content-disposition", format!("attachment; filename=\"{}.pb.gz\"", profile.kind())),
        Display::Flame if request.wants_json() => PageReply::new(JSON, profile.to_flame_json(value)),
        Display::Flame => PageReply::text(profile.to_folded(value)),
        Display::Text if request.is_html() => {
            frame::page(context, title, path, |html| table(html, profile, value))
        }
        Display::Text => {
            let mut out = summary(profile);
            _ = write!(out, "\n{}", profile.to_top(value, TOP_ROWS));
            PageReply::text(out)
        }
    }
}

fn summary(profile: &Profile) -> String {
    let [count, amount] = profile.value_types();
    let [counted, summed] = profile.totals();
    let mut out = format!(
        "{} of {}: {counted} {} ({}), {summed} {} ({})",
        profile.kind(),
        clock::second(profile.started()),
        count.name,
        count.unit,
        amount.name,
        amount.unit
    );
    if profile.duration() > Duration::ZERO {
        _ = write!(out, " in {}", clock::length(profile.duration()));
    }
    if profile.lost() > 0 {
        _ = write!(out, ", {} lost", profile.lost());
    }
    out
}

fn table(html: &mut Html, profile: &Profile, value: Value) {
    html.paragraph("dim", summary(profile));
    let total = profile.totals()[usize::from(value == Value::Amount)];
    let share = |part: i64| format!("{:.2}%", part as f64 * 100.0 / total.unsigned_abs().max(1) as f64);
    html.table(&["Itself", "%", "With callees", "%", "Function"], |html| {
        for row in profile.top(value, TOP_ROWS) {
            html.row(|html| {
                html.number(row.flat);
                html.number(share(row.flat));
                html.number(row.cum);
                html.number(share(row.cum));
                html.element("td", &[], |html| html.leaf("code", "", &row.name));
            });
        }
    });
}

fn number(request: &PageRequest, name: &str) -> Result<Option<u64>, Failure> {
    match request.query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(id) => Ok(Some(id)),
            Err(_) => Err(Failure::new(EINVAL, format!("{name} is the number of a kept profile"))),
        },
    }
}

fn kept(kind: Kind, id: u64) -> Result<Profile, Failure> {
    let found = profile::kept::get(id).filter(|profile| profile.kind() == kind);
    found.ok_or_else(|| Failure::new(EINVAL, format!("No {kind} profile {id} is kept")))
}

/// What a page draws.
enum Graph {
    /// A profile that is kept.
    Kept(u64),
    /// One that is taken while the page waits for it.
    New(Duration),
    /// Nothing, and why.
    None(String),
}

/// Whether a profile of this kind is there at once.
fn is_snapshot(kind: Kind) -> bool {
    matches!(kind, Kind::Heap | Kind::Growth)
}

/// The page that fetches the graph.
fn frame(
    context: &PageContext<'_>,
    request: &PageRequest,
    kind: Kind,
    path: &'static str,
    graph: &Graph,
) -> PageReply {
    let seconds = match graph {
        Graph::New(duration) => duration.as_secs(),
        _ => 0,
    };
    let address = || {
        let mut url = Url::page(path);
        url = match graph {
            Graph::Kept(id) => url.with("view", id),
            _ => url.with("seconds", seconds),
        };
        if let Some(base) = request.query.get("base").filter(|text| !text.is_empty()) {
            url = url.with("base", base);
        }
        if request.query.has("ccount") { url.flag("ccount") } else { url }
    };
    frame::page(context, kind.name(), path, |html| {
        form(html, request, kind, path, seconds);
        if let Graph::None(why) = graph {
            html.paragraph("notice", why);
            return;
        }
        html.element("p", &[Attr::Is("class", "tools")], |html| {
            html.link(address().with("display_type", "text"), "table");
            html.link(address().with("display_type", "pprof"), "file for pprof");
            if kind == Kind::Cpu {
                html.link(Url::page("/hotspots/history"), "the last hour");
            }
        });
        let attrs =
            [Attr::Url("data-flame", address().with("format", "json")), Attr::Text("data-seconds", &seconds)];
        html.element("div", &attrs, |html| {
            html.text("The graph is drawn by a script; without one, see the table.");
        });
    })
}

fn form(html: &mut Html, request: &PageRequest, kind: Kind, path: &'static str, seconds: u64) {
    let kept = profile::kept::list(kind);
    let chosen = |name: &str, id: u64| request.query.get(name).and_then(|text| text.parse().ok()) == Some(id);
    html.element(
        "form",
        &[Attr::Is("class", "tools"), Attr::Is("role", "search"), Attr::Url("action", Url::page(path))],
        |html| {
            let choice = |html: &mut Html, name: &'static str, label: &'static str, none: &'static str| {
                html.element("label", &[], |html| {
                    html.text(label).text(" ");
                    html.element("select", &[Attr::Is("name", name)], |html| {
                        html.element("option", &[Attr::Is("value", "")], |html| _ = html.text(none));
                        for one in &kept {
                            let mut attrs = vec![Attr::Text("value", &one.id)];
                            attrs.extend(chosen(name, one.id).then_some(Attr::Flag("selected")));
                            html.element("option", &attrs, |html| {
                                html.text(one.id).text(": ").text(clock::second(one.profile.started()));
                            });
                        }
                    });
                });
            };
            choice(html, "view", "view", "a new one");
            choice(html, "base", "difference to", "nothing");
            if !is_snapshot(kind) {
                let seconds = if seconds == 0 { SECONDS_DEFAULT } else { seconds };
                super::fibers::field(html, "seconds", "seconds", &seconds);
            }
            html.element("label", &[], |html| {
                html.text("count only ");
                let mut attrs =
                    vec![Attr::Is("type", "checkbox"), Attr::Is("name", "ccount"), Attr::Is("value", "1")];
                attrs.extend(request.query.has("ccount").then_some(Attr::Flag("checked")));
                html.void("input", &attrs);
            });
            html.element("button", &[], |html| _ = html.text("Show"));
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get, text_of};

    #[test]
    fn a_run_is_shown_kept_viewed_and_compared() {
        let server = fake_server();
        let reply = server.ask(&get("/hotspots/offcpu?seconds=1"));
        assert_eq!(reply.status, 200, "{}", text_of(&reply));
        assert!(text_of(&reply).starts_with("offcpu of "), "{}", text_of(&reply));
        let id = &reply.headers.iter().find(|(name, _)| *name == "x-profile-id").unwrap().1;
        let json = text_of(&server.ask(&get(&format!("/hotspots/offcpu?view={id}&format=json"))));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["unit"], "nanoseconds");
        let difference =
            server.ask(&get(&format!("/hotspots/offcpu?view={id}&base={id}&display_type=flame")));
        assert_eq!((difference.status, text_of(&difference).as_str()), (200, ""));
        let file = server.ask(&get(&format!("/hotspots/offcpu?view={id}&display_type=pprof")));
        assert!(file.body.to_vec().starts_with(&[0x1f, 0x8b]), "gzip");
        let html = server.html(&format!("/hotspots/offcpu?view={id}"));
        assert!(
            html.contains(&format!("data-flame=\"/hotspots/offcpu?view={id}&amp;format=json\"")),
            "{html}"
        );
        server.html(&format!("/hotspots/offcpu?view={id}&display_type=text"));
        assert_eq!(server.ask(&get(&format!("/hotspots/cpu?view={id}"))).status, 400, "of another kind");
    }

    #[test]
    fn queries_reach_no_path_and_no_page_unescaped() {
        let server = fake_server();
        for query in [
            "view=/etc/passwd",
            "view=../../x",
            "view=1;id",
            "base=$(id)",
            "base=%3Cscript%3E",
            "display_type=svg",
            "display_type=%3Cscript%3E",
            "seconds=-1",
            "seconds=1%20-o%20/tmp/x",
        ] {
            let reply = server.ask(&get(&format!("/hotspots/cpu?{query}")));
            assert_eq!(reply.status, 400, "{query}");
            let reply = server.ask(&browse(&format!("/hotspots/cpu?{query}")));
            assert!(!text_of(&reply).contains("<script>"), "{query}");
        }
        assert_eq!(server.ask(&get("/hotspots/%3Cscript%3E")).status, 404);
        let mut request = browse("/hotspots/cpu?format=json&seconds=1");
        request.is_cross_site = true;
        assert_eq!(server.ask(&request).status, 403);
        let html = server.html("/hotspots/cpu");
        assert!(html.contains("data-flame=\"/hotspots/cpu?seconds=10&amp;format=json\""));
    }

    #[test]
    fn a_heap_profile_is_there_or_says_why_not() {
        let asked = fake_server().ask(&browse("/hotspots/heap?format=json"));
        assert_eq!(asked.content_type, "application/json", "for the script that draws the graph");
        let reply = fake_server().ask(&get("/hotspots/heap"));
        assert!(reply.status == 200 || reply.status == 403, "{}", text_of(&reply));
        fake_server().html("/hotspots/heap");
    }
}
