//! `/blocked`: workers that one bthread held so long that others had to wait, with what it did
//! (`Runtime::blocked_workers`).

use std::fmt::Write as _;

use bthread::BlockedWorker;
use serde_json::json;

use super::clock;
use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::stacks;
use super::write::{Attr, Html, Url};

pub(super) struct Blocked;

impl Page for Blocked {
    fn name(&self) -> &'static str {
        "blocked"
    }

    fn about(&self) -> &'static str {
        "Workers held by blocking calls or long computations, with stacks"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let runtimes = bthread::runtimes();
        let mut reports: Vec<_> = runtimes.iter().flat_map(|runtime| runtime.blocked_workers()).collect();
        reports.sort_by_key(|report| (std::cmp::Reverse(report.ongoing), std::cmp::Reverse(report.noticed)));
        let stats: Vec<_> = runtimes.iter().map(|runtime| runtime.stats()).collect();
        let times: u64 = stats.iter().map(|stats| stats.blocked).sum();
        let stand_ins: usize = stats.iter().map(|stats| stats.stand_ins).sum();
        let traces =
            reports.iter().filter_map(|report| report.trace.as_ref().map(|trace| trace.stack.clone()));
        let mut texts = stacks::texts(&traces.collect::<Vec<_>>()).into_iter();
        let cases: Vec<_> = reports
            .into_iter()
            .map(|report| {
                let stack = report.trace.as_ref().and_then(|_| texts.next());
                Case { report, stack }
            })
            .collect();
        if request.wants_json() {
            let cases: Vec<_> = cases.iter().map(Case::json).collect();
            PageReply::json(&json!({ "noticed": times, "stand_ins": stand_ins, "cases": cases }))
        } else if request.is_html() {
            frame::page(context, "blocked", "/blocked", |html| page(html, &cases, times, stand_ins))
        } else {
            let mut out = format!("blocked_count: {times}\nstand_ins: {stand_ins}\n");
            for case in &cases {
                _ = write!(out, "\n{}\n{}", case.line(), case.stack.as_deref().unwrap_or("(no stack)\n"));
            }
            PageReply::text(out)
        }
    }
}

/// A report and its stack as text.
struct Case {
    report: BlockedWorker,
    stack: Option<String>,
}

impl Case {
    fn culprit(&self) -> String {
        match (&self.report.name, self.report.bthread) {
            (Some(name), Some(id)) => format!("bthread {id} '{}'", one_line(name)),
            (None, Some(id)) => format!("bthread {id}"),
            (_, None) => "a timer or an event".to_owned(),
        }
    }

    fn doing(&self) -> String {
        self.report
            .trace
            .as_ref()
            .map_or_else(|| "it is not known by what".to_owned(), |trace| trace.held.to_string())
    }

    fn line(&self) -> String {
        let report = &self.report;
        format!(
            "worker {}-{} (thread {}) {} held by {} for {}, {} times, {} ago: {}",
            report.tag,
            report.worker,
            report.thread,
            if report.ongoing { "is" } else { "was" },
            self.culprit(),
            clock::length(report.lasted),
            report.times,
            clock::length(report.noticed.elapsed()),
            self.doing()
        )
    }

    fn json(&self) -> serde_json::Value {
        let report = &self.report;
        json!({
            "tag": report.tag,
            "worker": report.worker,
            "thread": report.thread,
            "bthread": report.bthread.map(|id| id.as_u64()),
            "name": report.name,
            "times": report.times,
            "noticed_ms_ago": report.noticed.elapsed().as_millis() as u64,
            "lasted_us": report.lasted.as_micros() as u64,
            "ongoing": report.ongoing,
            "doing": self.doing(),
            "stack": self.stack,
        })
    }
}

fn page(html: &mut Html, cases: &[Case], times: u64, stand_ins: usize) {
    html.element("dl", &[Attr::Is("class", "facts")], |html| {
        for (name, value) in [("noticed", times), ("stand-ins now", stand_ins as u64)] {
            html.element("div", &[], |html| {
                html.leaf("dt", "", name);
                html.leaf("dd", "", value);
            });
        }
    });
    if cases.is_empty() {
        html.paragraph("notice good", "No worker was held by anybody so far.");
    }
    for case in cases {
        let report = &case.report;
        html.element("section", &[Attr::Is("class", "card")], |html| {
            html.element("h3", &[], |html| {
                html.leaf(
                    "span",
                    if report.ongoing { "badge bad" } else { "badge" },
                    if report.ongoing { "now" } else { "over" },
                );
                html.text(" worker ").text(report.tag).text("-").text(report.worker).text(", ");
                match report.bthread {
                    Some(id) => html.link(Url::below("/bthreads", id), case.culprit()),
                    None => _ = html.text(case.culprit()),
                }
            });
            html.element("p", &[], |html| {
                html.text("Held for ").text(clock::length(report.lasted)).text(": ").text(case.doing());
                html.text(", noticed ").text(report.times).text(" times, the last time ");
                html.text(clock::length(report.noticed.elapsed())).text(" ago");
            });
            html.leaf(
                "pre",
                "",
                case.stack.as_deref().unwrap_or("No stack: it was over before it could be seen."),
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake_server;
    use std::time::{Duration, Instant};

    /// Holds its worker.
    fn computes_on_and_on() {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_held_worker_is_shown_with_its_culprit() {
        let server = fake_server();
        let mut text = String::new();
        for _ in 0..20 {
            let culprit = bthread::Builder::new().name("<script>spins").spawn(computes_on_and_on).unwrap();
            culprit.join().unwrap();
            text = server.text("/blocked");
            if text.contains("<script>spins") && text.contains("computes_on_and_on") {
                break;
            }
        }
        assert!(text.contains("held by bthread ") && text.contains("'<script>spins' for "), "{text}");
        assert!(text.contains("computes_on_and_on"), "{text}");
        assert!(!server.html("/blocked").contains("<script>"));
    }
}
