//! `/hotspots/history`: processor time of the last hour, minute by minute; any stretch of it, and how two differ.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use profile::history::{self, Minute};
use serde_json::json;

use super::audit;
use super::clock;
use super::context::PageContext;
use super::frame;
use super::hotspots;
use super::profiling::Failure;
use super::reply::{EPERM, PageReply};
use super::request::PageRequest;
use super::write::{Attr, Html, Url};
use crate::error::{EINVAL, ENOMETHOD};

const PATH: &str = "/hotspots/history";
/// Height of the tallest bar, in the units of the picture.
const HEIGHT: f64 = 100.0;
/// The latest time that a query can name, in seconds since 1970: the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// `rest` is what follows the name in the path.
pub(super) fn serve(
    context: &PageContext<'_>,
    request: &PageRequest,
    rest: &str,
) -> Result<PageReply, Failure> {
    match rest {
        "" => {}
        "/start" | "/stop" => return change(context, request, rest == "/start"),
        other => return Err(Failure::new(ENOMETHOD, format!("There is no history{}", other))),
    }
    let display = hotspots::display(request)?;
    let (from, to) = (time(request, "from")?, time(request, "to")?);
    let (Some(from), Some(to)) = (from, to) else { return Ok(list(context, request)) };
    if display == hotspots::Display::Flame && request.is_html() && !request.wants_json() {
        return Ok(graph(context, request));
    }
    let before = time(request, "base_from")?.zip(time(request, "base_to")?);
    let found = match before {
        Some((base_from, base_to)) => history::change(base_from..base_to, from..to),
        None => history::between(from, to),
    };
    let found = found.ok_or_else(|| Failure::new(EINVAL, "Nothing was recorded then"))?;
    Ok(hotspots::show(context, request, &found, display, "/hotspots/cpu", "cpu, recorded"))
}

/// Seconds since 1970.
fn time(request: &PageRequest, name: &str) -> Result<Option<SystemTime>, Failure> {
    match request.query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(seconds) if seconds <= SECONDS_MAX => Ok(Some(UNIX_EPOCH + Duration::from_secs(seconds))),
            _ => Err(Failure::new(EINVAL, format!("{name} is a time in seconds since 1970"))),
        },
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn change(context: &PageContext<'_>, request: &PageRequest, start: bool) -> Result<PageReply, Failure> {
    context.may_change(request).map_err(|denied| Failure::new(EPERM, denied.hint()))?;
    let text = if start {
        history::start(history::Options::default())?;
        "the history of processor time is recorded"
    } else {
        history::stop();
        "the history of processor time is not recorded any more"
    };
    audit::record(context, text.to_owned());
    Ok(match request.is_html() {
        false => PageReply::text(text),
        true => frame::page(context, "history", "/hotspots/cpu", |html| {
            html.paragraph("notice good", text);
            html.link(Url::page(PATH), "back to the history");
        }),
    })
}

fn list(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    let minutes = history::minutes();
    if request.wants_json() {
        let minutes = minutes.iter().map(|minute| {
            json!({
                "start": unix(minute.start),
                "samples": minute.samples,
                "cpu_ms": minute.cpu.as_millis() as u64,
                "recorded_ms": minute.duration.as_millis() as u64,
            })
        });
        return PageReply::json(
            &json!({ "running": history::is_running(), "minutes": minutes.collect::<Vec<_>>() }),
        );
    }
    if !request.is_html() {
        let mut out = format!(
            "recorded: {}\nStart | Samples | CPU\n",
            if history::is_running() { "yes" } else { "no" }
        );
        for minute in &minutes {
            out += &format!(
                "{} | {} | {}\n",
                clock::second(minute.start),
                minute.samples,
                clock::length(minute.cpu)
            );
        }
        return PageReply::text(out);
    }
    frame::page(context, "cpu, the last hour", "/hotspots/cpu", |html| {
        let (path, text) = match history::is_running() {
            true => ("/hotspots/history/stop", "Stop recording"),
            false => ("/hotspots/history/start", "Record from now on"),
        };
        let attrs =
            [Attr::Is("method", "post"), Attr::Is("class", "tools"), Attr::Url("action", Url::page(path))];
        html.element("form", &attrs, |html| html.element("button", &[], |html| _ = html.text(text)));
        if minutes.is_empty() {
            html.paragraph("notice", "Nothing was recorded so far.");
            return;
        }
        bars(html, &minutes);
        compare(html, &minutes);
        html.table(&["Minute", "Samples", "CPU"], |html| {
            for minute in minutes.iter().rev() {
                html.row(|html| {
                    html.link_cell(
                        stretch(minute.start, minute.start + Duration::from_secs(60)),
                        clock::second(minute.start),
                    );
                    html.number(minute.samples);
                    html.length(minute.cpu);
                });
            }
        });
    })
}

/// The graph of a stretch of time.
fn stretch(from: SystemTime, to: SystemTime) -> Url {
    Url::page(PATH).with("from", unix(from)).with("to", unix(to))
}

fn bars(html: &mut Html, minutes: &[Minute]) {
    let most = minutes.iter().map(|minute| minute.cpu).max().unwrap_or_default().as_secs_f64().max(1e-9);
    let attrs = [
        Attr::Is("class", "minutes"),
        Attr::Is("viewBox", "0 0 600 100"),
        Attr::Is("preserveAspectRatio", "none"),
        Attr::Is("role", "img"),
        Attr::Is("aria-label", "Processor time of each minute"),
    ];
    html.element("svg", &attrs, |html| {
        // The first minute after a start is shorter than the others.
        let number = |minute: &Minute| unix(minute.start) / 60;
        let newest = minutes.last().map_or(0, number);
        for minute in minutes {
            let height = minute.cpu.as_secs_f64() / most * HEIGHT;
            let ago = newest.saturating_sub(number(minute));
            let (x, y, height) =
                (590_u64.saturating_sub(ago * 10), format!("{:.1}", HEIGHT - height), format!("{height:.1}"));
            let link = Attr::Url("href", stretch(minute.start, minute.start + Duration::from_secs(60)));
            html.element("a", &[link], |html| {
                let attrs = [
                    Attr::Is("class", "part run"),
                    Attr::Text("x", &x),
                    Attr::Text("y", &y),
                    Attr::Is("width", "9"),
                    Attr::Text("height", &height),
                ];
                html.element("rect", &attrs, |_| {});
            });
        }
    });
}

/// A form that chooses a stretch, and perhaps an earlier one that it is compared with.
fn compare(html: &mut Html, minutes: &[Minute]) {
    let choice = |html: &mut Html, name: &'static str, label: &'static str, after: u64| {
        html.element("label", &[], |html| {
            html.text(label).text(" ");
            html.element("select", &[Attr::Is("name", name)], |html| {
                html.element("option", &[Attr::Is("value", "")], |html| _ = html.text("-"));
                for minute in minutes.iter().rev() {
                    let at = minute.start + Duration::from_secs(after);
                    let seconds = unix(at);
                    html.element("option", &[Attr::Text("value", &seconds)], |html| {
                        _ = html.text(clock::second(at))
                    });
                }
            });
        });
    };
    let attrs =
        [Attr::Is("class", "tools"), Attr::Is("role", "search"), Attr::Url("action", Url::page(PATH))];
    html.element("form", &attrs, |html| {
        choice(html, "from", "from", 0);
        choice(html, "to", "to", 60);
        choice(html, "base_from", "compared with: from", 0);
        choice(html, "base_to", "to", 60);
        html.element("button", &[], |html| _ = html.text("Show"));
    });
}

fn graph(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    let mut url = Url::page(PATH);
    for name in ["from", "to", "base_from", "base_to"] {
        if let Some(value) = request.query.get(name).filter(|value| !value.is_empty()) {
            url = url.with(name, value);
        }
    }
    frame::page(context, "cpu, recorded", "/hotspots/cpu", |html| {
        html.element("p", &[Attr::Is("class", "tools")], |html| {
            html.link(url.clone().with("display_type", "text"), "table");
            html.link(url.clone().with("display_type", "pprof"), "file for pprof");
            html.link(Url::page(PATH), "the last hour");
        });
        html.element("div", &[Attr::Url("data-flame", url.clone().with("format", "json"))], |html| {
            html.text("The graph is drawn by a script; without one, see the table.");
        });
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get};

    #[test]
    fn times_are_checked_and_switches_guarded() {
        let server = fake_server();
        assert!(server.text("/hotspots/history").starts_with("recorded: "));
        server.html("/hotspots/history");
        assert_eq!(server.ask(&get("/hotspots/history?from=1&to=2")).status, 400, "nothing then");
        assert_eq!(server.ask(&get("/hotspots/history?from=x&to=2")).status, 400);
        assert_eq!(server.ask(&get("/hotspots/history?from=18446744073709551615&to=2")).status, 400);
        assert_eq!(server.ask(&get("/hotspots/history/%3Cscript%3E")).status, 404);
        let mut request = browse("/hotspots/history/start");
        request.is_cross_site = true;
        assert_eq!(server.ask(&request).status, 403);
        server.html("/hotspots/history?from=1&to=2");
    }
}
