//! `/bthreads`: one bthread, or all of them with their stacks (`spec/builtin-services.md` §12).

use std::collections::HashMap;
use std::fmt::Write as _;

use bthread::{BthreadInfo, TaskId};

use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::sockets::{jump, preformatted};
use super::stacks;
use super::write::{Attr, Url};
use crate::error::ENOMETHOD;
use crate::span::TraceId;

/// Bthreads that `/bthreads/all` shows; `/fibers` pages through more.
const ALL_MAX: usize = 10_000;
/// Of those, with their stacks.
const ALL_STACKS_MAX: usize = 500;

pub(super) struct Bthreads;

impl Page for Bthreads {
    fn name(&self) -> &'static str {
        "bthreads"
    }

    fn about(&self) -> &'static str {
        "Check the state of a bthread, or of all that live"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let with_stacks = request.query.get("st").is_some_and(|value| value != "0");
        match request.rest.as_str() {
            "" if request.is_html() => frame::page(context, "bthreads", "", |html| {
                jump(html, "/bthreads", "bthread id");
                html.element("p", &[], |html| {
                    html.link(Url::page("/bthreads/all"), "all living bthreads");
                    html.text(" · ");
                    html.link(Url::page("/bthreads/all").with("st", 1), "with their stacks");
                    html.text(" · ");
                    html.link(Url::page("/fibers"), "as a table");
                });
            }),
            "" => PageReply::text(
                "Use /bthreads/<bthread_id>\nTo check all living bthread, use /bthreads/all\n\
                 With their stacks: /bthreads/all?st=1\n",
            ),
            "all" => all(context, request, with_stacks),
            id => match id.parse() {
                Ok(id) => preformatted(context, request, "bthread", || one(TaskId::from_u64(id))),
                Err(_) => {
                    let text = format!("path={} is not a bthread id or all, or all?st=1", id);
                    PageReply::error(context, request, ENOMETHOD, text)
                }
            },
        }
    }
}

/// The fields of one, and its stack if it waits.
fn one(id: TaskId) -> String {
    let Some(info) = bthread::bthread(id) else {
        return format!("bthread={id} : not exist now\n");
    };
    let mut out = describe(&info);
    match bthread::stack_trace(id) {
        Some(trace) => _ = write!(out, "\n[stack]\n{}", stacks::text(&trace)),
        None => out.push_str("\nNo stack: it does not wait at this moment.\n"),
    }
    out
}

fn describe(info: &BthreadInfo) -> String {
    let mut out = format!(
        "bthread={} :\nname={}\nstatus={}\nstop={}\ninterrupted={}\n",
        info.id,
        info.name.as_deref().map_or_else(String::new, one_line),
        info.state,
        u8::from(info.stopped),
        u8::from(info.interrupted),
    );
    if let Some(home) = info.home {
        _ = writeln!(out, "specified_tag={}\nworker={}", home.tag, home.worker);
    }
    _ = writeln!(out, "uptime_ns={}\nwaited_ns={}", info.age.as_nanos(), info.waited.as_nanos());
    if let Some(id) = TraceId::from_u128(info.trace_id) {
        _ = writeln!(out, "trace_id={id}");
    }
    out
}

fn all(context: &PageContext<'_>, request: &PageRequest, with_stacks: bool) -> PageReply {
    let mut infos = bthread::bthreads();
    let total = infos.len();
    infos.truncate(ALL_MAX);
    let mut found = HashMap::new();
    if with_stacks {
        let traces = infos.iter().filter_map(|info| Some((info.id, bthread::stack_trace(info.id)?)));
        let (ids, traces): (Vec<_>, Vec<_>) = traces.take(ALL_STACKS_MAX).unzip();
        found = ids.into_iter().zip(stacks::texts(&traces)).collect();
    }
    let stack_of = |id: TaskId| found.get(&id).map(String::as_str);
    if !request.is_html() {
        let mut out = String::new();
        for info in &infos {
            out.push_str(&describe(info));
            if let Some(stack) = stack_of(info.id) {
                _ = write!(out, "[stack]\n{stack}");
            }
            out.push('\n');
        }
        if total > infos.len() {
            _ = writeln!(out, "# {} more, see /fibers", total - infos.len());
        }
        return PageReply::text(out);
    }
    frame::page(context, "bthreads", "", |html| {
        html.element("p", &[Attr::Is("class", "dim")], |html| {
            html.text(total).text(" bthreads live. ");
            match with_stacks {
                false => html.link(Url::page("/bthreads/all?st=1"), "Show their stacks"),
                true => html.link(Url::page("/bthreads/all"), "Hide their stacks"),
            }
            html.text(" · ");
            html.link(Url::page("/fibers"), "Filter them");
        });
        for info in &infos {
            html.element("section", &[Attr::Is("class", "card")], |html| {
                html.element("h3", &[], |html| {
                    html.link(Url::below("/bthreads", info.id), info.id);
                    html.text(" ").text(info.name.as_deref().unwrap_or("")).text(" ");
                    html.leaf("small", "", info.state);
                });
                if let Some(stack) = stack_of(info.id).filter(|stack| !stack.is_empty()) {
                    html.leaf("pre", "", stack);
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get, text_of};

    fn naps() {
        bthread::sleep(std::time::Duration::MAX);
    }

    #[test]
    fn the_samples_texts_are_there() {
        let server = fake_server();
        let usage = server.text("/bthreads");
        assert!(
            usage.starts_with("Use /bthreads/<bthread_id>\nTo check all living bthread, use /bthreads/all\n"),
            "{usage}"
        );
        assert_eq!(server.text("/bthreads/4294967295"), "bthread=4294967295 : not exist now\n");
        let bad = server.ask(&get("/bthreads/abc"));
        assert_eq!(bad.status, 404);
        assert_eq!(text_of(&bad), "[127.0.0.1:8002][E1002]path=abc is not a bthread id or all, or all?st=1");
        assert!(!text_of(&server.ask(&browse("/bthreads/%3Cscript%3E"))).contains("<script>"));
        server.html("/bthreads");
    }

    #[test]
    fn a_sleeper_is_shown_with_its_stack() {
        let sleeper = bthread::Builder::new().name("<script>nap").spawn(naps).unwrap();
        while bthread::stack_trace(sleeper.id()).is_none() {
            std::thread::yield_now();
        }
        let server = fake_server();
        let text = server.text(&format!("/bthreads/{}", sleeper.id()));
        assert!(text.contains("status=waiting for a time\nstop=0\n") && text.contains("naps"), "{text}");
        assert!(server.text("/bthreads/all?st=1").contains("naps"));
        assert!(!server.html("/bthreads/all?st=1").contains("<script>"));
        bthread::stop(sleeper.id());
        sleeper.join().unwrap();
    }
}
