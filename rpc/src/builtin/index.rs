//! `/` and `/index`: where to go (`spec/builtin-services.md` §3).

use std::fmt::Write as _;
use std::time::Duration;

use super::clock;
use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::PageReply;
use super::request::PageRequest;
use super::status;
use super::write::Url;

pub(super) struct Index;

/// The names of the pages without a tab, which `?as_more` shows.
const MORE: &[&str] = &[
    "security",
    "bthreads",
    "threads",
    "sockets",
    "ids",
    "protobufs",
    "list",
    "brpc_metrics",
    "memory",
    "dir",
    "vlog",
    "version",
    "health",
];

impl Page for Index {
    fn name(&self) -> &'static str {
        "index"
    }

    fn about(&self) -> &'static str {
        "This list"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        if !request.is_html() {
            PageReply::text(text(context))
        } else if request.query.has("as_more") {
            frame::page(context, "more", "/index?as_more", |html| {
                html.table(&["Page", "What it shows"], |html| {
                    for name in MORE {
                        let about =
                            super::ALL.iter().find(|page| page.name() == *name).map(|page| page.about());
                        html.row(|html| {
                            html.link_cell(Url::below("/", name), format_args!("/{name}"));
                            html.cell(about.unwrap_or(""));
                        });
                    }
                });
            })
        } else {
            status::html_form(context, request.query.has("expand"))
        }
    }
}

fn text(context: &PageContext<'_>) -> String {
    let before = clock::second(bthread::clock::wall() - Duration::from_secs(30));
    let options = context.server.options();
    let off = |is_on: bool| if is_on { "" } else { " (disabled)" };
    let at = context.identity();
    let mut out = String::from("bobbin\n\n");
    let lines = [
        "/status : Services, their methods, and how they do".to_owned(),
        "/connections : List all connections".to_owned(),
        "/flags : List all flags".to_owned(),
        "  /flags/NAME : One flag".to_owned(),
        "  /flags/max_*;rpcz$ : Several flags by wildcards ($ stands for any one character)".to_owned(),
        "  /flags/NAME?setvalue=VALUE : Set a flag, if it can be set while the process runs".to_owned(),
        "/vars : List all exposed variables".to_owned(),
        "  /vars/NAME : One variable".to_owned(),
        "  /vars/rpc_server*_count;iobuf_blo$k_* : Several variables by wildcards".to_owned(),
        format!("/rpcz : Recent calls{}", off(crate::span::is_enabled())),
        "  /rpcz/stats : How many calls are kept".to_owned(),
        format!("  /rpcz?time={before} : Calls before that time"),
        format!("  /rpcz?time={before}&max_scan=10 : At most 10 of them"),
        "  More filters: min_latency, min_request_size, min_response_size, log_id, error_code, method, side"
            .to_owned(),
        "  /rpcz?trace=N : The calls of one trace".to_owned(),
        "  /rpcz?trace=N&span=M : One call of it".to_owned(),
        "/fibers : All bthreads, what each waits for, since when, for which request".to_owned(),
        "  /fibers?group=stack : How many wait at the same place".to_owned(),
        "/blocked : Workers held by blocking calls or long computations, with stacks".to_owned(),
        "/hotspots/cpu : Where processor time goes".to_owned(),
        "/hotspots/heap : Who holds memory".to_owned(),
        "/hotspots/growth : Who has asked for memory".to_owned(),
        "/hotspots/contention : Who waits for locks".to_owned(),
        "/hotspots/offcpu : Where bthreads wait".to_owned(),
        "/pprof/profile?seconds=10 : Processor time for pprof (also: heap, growth, contention)".to_owned(),
        format!(
            "curl -H 'Content-Type: application/json' -d 'JSON' {at}/ServiceName/MethodName : Call a method by HTTP"
        ),
        "/brpc_metrics : All numbers for Prometheus (also at /metrics)".to_owned(),
        "/security : What each port speaks, the limits, and who may change something".to_owned(),
        "/version : The version of this server".to_owned(),
        "/health : Whether the server is well".to_owned(),
        "/vlog : Places that log verbosely".to_owned(),
        "/sockets : Check the state of a socket".to_owned(),
        "/bthreads : Check the state of a bthread, or of all that live".to_owned(),
        "/ids : Check the state of a call id".to_owned(),
        "/protobufs : List all protobuf services and messages".to_owned(),
        "/list : Signatures of all methods, as JSON".to_owned(),
        format!("/threads : Stacks of all threads{}", off(options.shows_threads())),
        format!("/dir : Browse the files of a folder{}", off(options.dir_root().is_some())),
        "/memory : Memory of the process".to_owned(),
    ];
    for line in lines {
        _ = writeln!(out, "{line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake_server;

    #[test]
    fn every_page_of_the_sample_is_named() {
        let server = fake_server();
        let text = server.text("/");
        for path in [
            "/status : ",
            "/connections : ",
            "/flags : ",
            "/vars : ",
            "/rpcz : ",
            "  /rpcz/stats : ",
            "  /rpcz?time=20",
            "/hotspots/cpu : ",
            "/hotspots/heap : ",
            "/hotspots/growth : ",
            "/hotspots/contention : ",
            "/version : ",
            "/health : ",
            "/vlog : ",
            "/sockets : ",
            "/bthreads : ",
            "/ids : ",
            "/protobufs : ",
            "/list : ",
            "/threads : ",
            "/dir : ",
            "/memory : ",
            "curl -H 'Content-Type: application/json' -d 'JSON' 127.0.0.1:8002/",
        ] {
            assert!(text.contains(&format!("\n{path}")), "{path}");
        }
        assert!(text.contains("/threads : Stacks of all threads (disabled)\n"));
        assert_eq!(server.text("/index"), text);
        assert!(server.html("/").contains("<h1>status</h1>"));
        assert!(server.html("/index?as_more").contains("href=\"/security\""));
    }
}
