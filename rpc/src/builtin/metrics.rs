//! `/brpc_metrics` and `/metrics`: all numbers for Prometheus (`spec/builtin-services.md` §6).

use bvar::prometheus::{self, Format, Options};

use super::context::PageContext;
use super::page::Page;
use super::reply::PageReply;
use super::request::PageRequest;

pub(super) struct Metrics;

impl Page for Metrics {
    fn name(&self) -> &'static str {
        "brpc_metrics"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["metrics"]
    }

    fn about(&self) -> &'static str {
        "All numbers for Prometheus (also at /metrics)"
    }

    /// Text for everybody. OpenMetrics for those who accept it; `?histograms` adds the distributions of latencies.
    fn serve(&self, _: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let accepts = |what| request.accept.as_deref().is_some_and(|accept: &str| accept.contains(what));
        let format = match accepts("application/openmetrics-text") {
            true => Format::OpenMetrics,
            false => Format::Text,
        };
        let options = Options { format, latency_histograms: request.query.has("histograms") };
        let mut text = String::new();
        prometheus::write(&mut text, options);
        PageReply::new(format.content_type(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get, text_of};
    use bvar::{Adder, Variable};

    #[test]
    fn numbers_are_there_in_both_formats() {
        let served = Adder::<u64>::new().expose("metrics_page_test_served").unwrap();
        served.add(7);
        let server = fake_server();
        let text = server.text("/brpc_metrics");
        assert!(text.contains("# TYPE metrics_page_test_served counter\nmetrics_page_test_served 7\n"));
        assert!(!text.contains("# EOF"));
        let reply = server.ask(&browse("/metrics"));
        assert!(reply.content_type.starts_with("text/plain; version=0.0.4"));
        let mut request = get("/metrics");
        request.accept = Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5".to_owned());
        let reply = server.ask(&request);
        assert!(reply.content_type.starts_with("application/openmetrics-text"));
        assert!(text_of(&reply).ends_with("# EOF\n"));
    }
}
