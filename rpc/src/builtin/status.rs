//! `/status`: the services, and what is counted of each method (`spec/builtin-services.md` §4).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::charts::{self, Chart};
use super::clock;
use super::context::{MethodInfo, PageContext};
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::write::{Attr, Html, Url};

/// The rows of a method in the text form, in brpc's order; each is a variable of the method.
const TEXT_ROWS: &[&str] = &[
    "count",
    "qps",
    "error",
    "eps",
    "latency",
    "latency_50",
    "latency_90",
    "latency_99",
    "latency_999",
    "latency_9999",
    "max_latency",
    "concurrency",
    "max_concurrency",
];

/// The rows of the HTML form, where charts stand for the percentiles.
const HTML_ROWS: &[&str] = &[
    "count",
    "qps",
    "error",
    "eps",
    "latency",
    "latency_percentiles",
    "latency_cdf",
    "max_latency",
    "concurrency",
    "max_concurrency",
];

pub(super) struct Status;

impl Page for Status {
    fn name(&self) -> &'static str {
        "status"
    }

    fn about(&self) -> &'static str {
        "Services, their methods, and how they do"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        if request.wants_json() {
            json_form(context)
        } else if request.is_html() {
            html_form(context, request.query.has("expand"))
        } else {
            text_form(context)
        }
    }
}

/// The lines about the server as a whole.
fn header(context: &PageContext<'_>) -> [(&'static str, String); 5] {
    let server = context.server;
    let max = match server.max_concurrency() {
        0 => "unlimited".to_owned(),
        max => max.to_string(),
    };
    [
        ("version", one_line(&server.version())),
        ("non_service_error", server.non_service_errors().to_string()),
        ("connection_count", server.connection_count().to_string()),
        ("max_concurrency", max),
        ("concurrency", server.concurrency().to_string()),
    ]
}

/// The value of a row, if the method has it.
fn row(method: &MethodInfo, row: &str) -> Option<String> {
    match (row, method.max_concurrency) {
        ("max_concurrency", max) => max.map(|max| max.to_string()),
        ("latency_50", _) => median(method),
        _ => bvar::describe(&format!("{}_{row}", method.variables)),
    }
}

/// The median, which has no variable of its own.
fn median(method: &MethodInfo) -> Option<String> {
    let variable = bvar::find(&format!("{}_latency", method.variables))?;
    let figure = variable.latency_figure()?;
    Some(figure.recorder.window().percentile(0.5).to_string())
}

/// `Echo (EchoRequest) returns (EchoResponse) @path`.
fn signature(method: &MethodInfo) -> String {
    let short = |name: &'static str| name.rsplit('.').next().unwrap_or(name);
    let descriptor = method.descriptor;
    let mut text = format!(
        "{} ({}) returns ({})",
        descriptor.name,
        short(descriptor.request_type),
        short(descriptor.response_type)
    );
    for path in &method.paths {
        _ = write!(text, " @{}", one_line(path));
    }
    text
}

fn text_form(context: &PageContext<'_>) -> PageReply {
    let mut out = String::new();
    for (name, value) in header(context) {
        _ = writeln!(out, "{name}: {value}");
    }
    for service in context.server.services() {
        _ = writeln!(out, "[{}]\n", service.descriptor.full_name);
        for method in &service.methods {
            _ = writeln!(out, "{}", signature(method));
            for name in TEXT_ROWS {
                if let Some(value) = row(method, name) {
                    _ = writeln!(out, "{name}: {}", one_line(&value));
                }
            }
            out.push('\n');
        }
    }
    PageReply::text(out)
}

fn json_form(context: &PageContext<'_>) -> PageReply {
    let number = |text: String| text.parse::<f64>().map_or(Value::String(text), Value::from);
    let services = context.server.services();
    let services = services.iter().map(|service| {
        let methods = service.methods.iter().map(|method| {
            let rows =
                TEXT_ROWS.iter().filter_map(|name| Some(((*name).to_owned(), number(row(method, name)?))));
            json!({
                "name": method.descriptor.full_name,
                "request_type": method.descriptor.request_type,
                "response_type": method.descriptor.response_type,
                "paths": method.paths,
                "values": rows.collect::<serde_json::Map<_, _>>(),
            })
        });
        json!({ "name": service.descriptor.full_name, "methods": methods.collect::<Vec<_>>() })
    });
    let services: Vec<_> = services.collect();
    let server = context.server;
    PageReply::json(&json!({
        "version": server.version(),
        "uptime_seconds": server.started().elapsed().unwrap_or_default().as_secs(),
        "stopping": server.is_stopping(),
        "non_service_error": server.non_service_errors(),
        "connection_count": server.connection_count(),
        "max_concurrency": server.max_concurrency(),
        "concurrency": server.concurrency(),
        "services": services,
    }))
}

/// The page for browsers; the index shows it too.
pub(super) fn html_form(context: &PageContext<'_>, expand: bool) -> PageReply {
    frame::page(context, "status", "/status", |html| {
        let server = context.server;
        html.element("dl", &[Attr::Is("class", "facts")], |html| {
            for (name, value) in header(context) {
                html.element("div", &[], |html| {
                    html.leaf("dt", "", name);
                    html.leaf("dd", "", value);
                });
            }
            html.element("div", &[], |html| {
                html.leaf("dt", "", "uptime");
                html.leaf("dd", "", clock::length(server.started().elapsed().unwrap_or_default()));
            });
        });
        if server.is_stopping() {
            html.paragraph("notice bad", "The server is stopping: new requests are refused.");
        }
        let services = server.services();
        if services.is_empty() {
            html.paragraph("notice", "This server has no services beside its debug pages.");
        }
        for service in &services {
            html.leaf("h2", "", service.descriptor.full_name);
            for method in &service.methods {
                method_form(html, method, expand);
            }
        }
    })
}

fn method_form(html: &mut Html, method: &MethodInfo, expand: bool) {
    let descriptor = method.descriptor;
    let busy = row(method, "qps").and_then(|qps| qps.parse::<f64>().ok()).is_some_and(|qps| qps > 0.0);
    html.element("section", &[Attr::Is("class", "card"), Attr::Text("id", &descriptor.full_name)], |html| {
        html.element("h3", &[], |html| {
            html.text(descriptor.name);
            html.element("small", &[], |html| {
                if !descriptor.request_type.is_empty() {
                    html.text(" (");
                    message_link(html, descriptor.request_type);
                    html.text(") returns (");
                    message_link(html, descriptor.response_type);
                    html.text(")");
                }
                for path in &method.paths {
                    html.text(" ");
                    html.leaf("code", "", path);
                }
            });
        });
        for name in HTML_ROWS {
            let variable = format!("{}_{name}", method.variables);
            let Some(value) = row(method, name) else { continue };
            let chart = if *name == "latency_cdf" { Chart::Cdf } else { Chart::Trend };
            let shown = match *name {
                "latency_cdf" => "distribution".to_owned(),
                _ => value,
            };
            let open = expand || busy && matches!(*name, "qps" | "latency_percentiles" | "latency_cdf");
            match *name {
                "max_concurrency" => charts::plain(html, name, shown),
                _ => charts::variable(html, name, shown, &variable, chart, open),
            }
        }
    });
}

fn message_link(html: &mut Html, full_name: &'static str) {
    let short = full_name.rsplit('.').next().unwrap_or(full_name);
    html.link(Url::below("/protobufs", full_name), short);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fake_server, get, text_of};
    use bvar::{LatencyRecorder, LatencyUnit, Status as Value, Variable};

    #[test]
    fn the_text_has_the_labels_of_the_sample() {
        let mut server = fake_server();
        server.variables = "status_page_test_echo".to_owned();
        let recorder = LatencyRecorder::new(LatencyUnit::Micros).expose("status_page_test_echo").unwrap();
        recorder.record(363);
        let _error = Value::new(36i64).expose("status_page_test_echo_error").unwrap();
        let _eps = Value::new(1i64).expose("status_page_test_echo_eps").unwrap();
        let _running = Value::new(0i64).expose("status_page_test_echo_concurrency").unwrap();
        let text = server.text("/status");
        let labels = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.split_once(": ").map_or(line, |(label, _)| label).to_owned())
                .collect()
        };
        let sample = "version: a\nnon_service_error: 0\nconnection_count: 5\nmax_concurrency: 1000\nconcurrency: 0\n\
             [example.EchoService]\n\nEcho (EchoRequest) returns (EchoResponse)\ncount: 6211\nqps: 99\nerror: 36\n\
             eps: 1\nlatency: 363\nlatency_50: 120\nlatency_90: 227\nlatency_99: 3325\nlatency_999: 6383\n\
             latency_9999: 6383\nmax_latency: 6383\nconcurrency: 0\nmax_concurrency: 12\n\n";
        assert_eq!(labels(&text), labels(sample));
        assert!(text.contains("version: echo_demo_1.0\n") && text.contains("error: 36\n"), "{text}");
        let html = server.html("/status?expand");
        assert!(html.contains("data-series=\"/vars/status_page_test_echo_qps?series\""));
        assert!(html.contains("href=\"/protobufs/example.EchoRequest\""));
    }

    #[test]
    fn paths_and_versions_are_untrusted() {
        let mut server = fake_server();
        server.version = "<script>1</script>\nfaked: 1".to_owned();
        server.paths = vec!["/<script>".to_owned()];
        assert!(!server.html("/status").contains("<script>"));
        assert!(server.text("/status").starts_with("version: <script>1</script>\\nfaked: 1\n"));
        let reply = server.ask(&get("/status?format=json"));
        let value: serde_json::Value = serde_json::from_str(&text_of(&reply)).unwrap();
        assert_eq!(value["services"][0]["methods"][0]["paths"][0], "/<script>");
        assert_eq!(value["max_concurrency"], 1000);
    }
}
