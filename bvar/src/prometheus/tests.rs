use super::*;
use crate::{Adder, Histogram, LatencyRecorder, LatencyUnit, MultiDimension, PassiveStatus, Status};
use proptest::prelude::*;
use std::collections::HashMap;

fn page(options: Options) -> String {
    let mut text = String::new();
    write(&mut text, options);
    text
}

const OPEN_METRICS: Options = Options { format: Format::OpenMetrics, latency_histograms: true };

/// The lines of a page whose names begin so.
fn lines_of<'a>(page: &'a str, start: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| {
        let name = line.strip_prefix("# HELP ").or(line.strip_prefix("# TYPE ")).unwrap_or(line);
        name.starts_with(start)
    };
    page.lines().filter(is_of).collect()
}

/// The text of a label's value as a reader takes it.
fn unescaped(text: &str) -> String {
    let mut chars = text.chars();
    let mut value = String::new();
    while let Some(c) = chars.next() {
        value.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(c @ ('\\' | '"')) => c,
                other => panic!("\\{other:?} is no escape"),
            },
            '"' | '\n' => panic!("{c:?} is not escaped"),
            c => c,
        });
    }
    value
}

/// Checks what both formats demand of any page.
fn check(page: &str, format: Format) {
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut family = "";
    let mut helped = "";
    let mut samples = HashSet::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split(' ').next().unwrap();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "HELP and TYPE go together");
            assert!(types.insert(name, kind).is_none(), "two types of {name}");
            assert!(!samples.contains(name), "{name} had samples before");
            family = name;
        } else if line == "# EOF" {
            assert!(format == Format::OpenMetrics && lines.peek().is_none());
        } else {
            let (series, number) = line.rsplit_once(' ').unwrap();
            let number = number.replace("+Inf", "inf").replace("-Inf", "-inf");
            assert!(number.parse::<f64>().is_ok(), "{line}");
            let name = series.split('{').next().unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
            assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
            let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let suffixes: &[&str] = match (types[family], format) {
                ("counter", Format::OpenMetrics) => &["_total"],
                ("summary", _) => &["", "_sum", "_count"],
                ("histogram", _) => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line} is not a sample of a {}", types[family]);
            assert!(samples.insert(series), "{series} is there twice");
        }
    }
    assert_eq!(page.ends_with("# EOF\n"), format == Format::OpenMetrics);
}

#[test]
fn numbers_are_counters_and_gauges_and_text_is_nothing() {
    let counter = Adder::<u64>::new().expose("prom_test_plain_served").unwrap();
    counter.add(7);
    let _total = PassiveStatus::counter(|| 5u64).expose("prom_test_plain_bytes_total").unwrap();
    let _gauge = Status::new(-3i64).expose("prom_test_plain_depth").unwrap();
    let _float = Status::new(0.25).expose("prom_test_plain_ratio").unwrap();
    let _nan = Status::new(f64::NAN).expose("prom_test_plain_nan").unwrap();
    let _inf = Status::new(f64::NEG_INFINITY).expose("prom_test_plain_least").unwrap();
    let _text = Status::new("1".to_owned()).expose("prom_test_plain_text").unwrap();
    let _count = Status::new(4i64).expose("rpc_server_prom_test_connection_count").unwrap();
    let _digit = Status::new(4i64).expose("9prom_test").unwrap();
    let _bad = PassiveStatus::new(|| -> i64 { panic!("of a test") }).expose("prom_test_plain_bad").unwrap();

    let text = page(Options::default());
    check(&text, Format::Text);
    assert_eq!(
        lines_of(&text, "prom_test_plain"),
        [
            "# HELP prom_test_plain_bytes_total The variable prom_test_plain_bytes_total",
            "# TYPE prom_test_plain_bytes_total counter",
            "prom_test_plain_bytes_total 5",
            "# HELP prom_test_plain_depth The variable prom_test_plain_depth",
            "# TYPE prom_test_plain_depth gauge",
            "prom_test_plain_depth -3",
            "# HELP prom_test_plain_least The variable prom_test_plain_least",
            "# TYPE prom_test_plain_least gauge",
            "prom_test_plain_least -Inf",
            "# HELP prom_test_plain_nan The variable prom_test_plain_nan",
            "# TYPE prom_test_plain_nan gauge",
            "prom_test_plain_nan NaN",
            "# HELP prom_test_plain_ratio The variable prom_test_plain_ratio",
            "# TYPE prom_test_plain_ratio gauge",
            "prom_test_plain_ratio 0.25",
            "# HELP prom_test_plain_served The variable prom_test_plain_served",
            "# TYPE prom_test_plain_served counter",
            "prom_test_plain_served 7",
        ]
    );
    assert!(text.contains("\nrpc_server_prom_test_connection_count 4\n"), "not swallowed");
    assert!(text.contains("# TYPE _9prom_test gauge\n_9prom_test 4\n"));

    let open = page(OPEN_METRICS);
    check(&open, Format::OpenMetrics);
    assert!(open.contains("# TYPE prom_test_plain_bytes counter\nprom_test_plain_bytes_total 5\n"));
    assert!(open.contains("# TYPE prom_test_plain_served counter\nprom_test_plain_served_total 7\n"));
}

#[test]
fn counters_whose_names_clash_in_openmetrics_are_gauges_there() {
    let _a = PassiveStatus::counter(|| 1u64).expose("prom_test_clash").unwrap();
    let _b = PassiveStatus::counter(|| 2u64).expose("prom_test_clash_total").unwrap();
    let open = page(OPEN_METRICS);
    check(&open, Format::OpenMetrics);
    assert!(open.contains("# TYPE prom_test_clash gauge\nprom_test_clash 1\n"));
    assert!(open.contains("# TYPE prom_test_clash_total gauge\nprom_test_clash_total 2\n"));
    assert!(page(Options::default()).contains("# TYPE prom_test_clash counter\n"));
}

#[test]
fn a_recorder_of_a_server_is_a_summary() {
    let recorder = LatencyRecorder::new(LatencyUnit::Nanos);
    (1..=100).for_each(|micros| recorder.record(micros * 1000 + 1));
    let _recorder = recorder.expose("rpc_server_prom_test_echo").unwrap();
    let text = page(Options::default());
    check(&text, Format::Text);
    let lines = lines_of(&text, "rpc_server_prom_test_echo");
    let samples: Vec<&str> = lines
        .iter()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    let name = "rpc_server_prom_test_echo";
    let quantile = |q: &str| format!("{name}{{quantile=\"{q}\"}}");
    let expected = [
        quantile("0.8"),
        quantile("0.9"),
        quantile("0.99"),
        quantile("0.999"),
        quantile("0.9999"),
        quantile("1"),
        format!("{name}_sum"),
        format!("{name}_count"),
        format!("{name}_latency"),
        format!("{name}_max_latency"),
        format!("{name}_qps"),
    ];
    assert_eq!(samples, expected);
    assert!(lines.contains(&"rpc_server_prom_test_echo_count 100"));
    assert!(lines.contains(&"rpc_server_prom_test_echo_sum 5050"), "in microseconds: {lines:?}");
    assert!(lines.contains(&"# TYPE rpc_server_prom_test_echo summary"));
}

#[test]
fn any_other_recorder_keeps_its_percentiles_as_well() {
    let _recorder = LatencyRecorder::new(LatencyUnit::Micros).expose("prom_test_work").unwrap();
    let text = page(OPEN_METRICS);
    check(&text, Format::OpenMetrics);
    for name in [
        "latency",
        "latency_80",
        "latency_90",
        "latency_99",
        "latency_999",
        "latency_9999",
        "max_latency",
        "qps",
    ] {
        assert!(
            text.contains(&format!("# TYPE prom_test_work_{name} gauge\nprom_test_work_{name} 0\n")),
            "{name}"
        );
    }
    assert!(text.contains("# TYPE prom_test_work summary\n") && text.contains("\nprom_test_work_count 0\n"));
    assert!(text.contains("prom_test_work_latency_distribution_bucket{le=\"+Inf\"} 0\n"));
}

#[test]
fn a_recorder_whose_name_is_taken_stays_single_figures() {
    let _taken = Status::new(1i64).expose("rpc_server_prom_test_taken").unwrap();
    let recorder = LatencyRecorder::new(LatencyUnit::Micros).expose("rpc_server_prom_test_taken").unwrap();
    recorder.record(5);
    let text = page(Options::default());
    check(&text, Format::Text);
    assert!(text.contains("# TYPE rpc_server_prom_test_taken gauge\nrpc_server_prom_test_taken 1\n"));
    assert!(
        text.contains(
            "# TYPE rpc_server_prom_test_taken_count counter\nrpc_server_prom_test_taken_count 1\n"
        )
    );
    assert!(text.contains("\nrpc_server_prom_test_taken_latency_99 "));
}

#[test]
fn a_histogram_has_exact_counts_below_each_bound() {
    let histogram = Histogram::new().expose("prom_test_sizes").unwrap();
    [0, 1, 1, 3, 4, 1023, 1024, 1 << 45].iter().for_each(|size| histogram.record(*size));
    let text = page(Options::default());
    check(&text, Format::Text);
    for (bound, count) in [
        ("0", 1),
        ("1", 3),
        ("3", 4),
        ("7", 5),
        ("511", 5),
        ("1023", 6),
        ("2047", 7),
        ("1099511627775", 7),
        ("+Inf", 8),
    ] {
        let line = format!("prom_test_sizes_bucket{{le=\"{bound}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(
        text.contains("# TYPE prom_test_sizes histogram\n") && text.contains("\nprom_test_sizes_count 8\n")
    );
}

#[test]
fn a_vector_is_one_gauge_for_each_element() {
    let vector = PassiveStatus::new(|| [1i64, -2]).with_element_names(["using", "free\"d"]);
    let _vector = vector.expose("prom_test_vector").unwrap();
    let text = page(Options::default());
    check(&text, Format::Text);
    assert_eq!(
        lines_of(&text, "prom_test_vector")[1..],
        [
            "# TYPE prom_test_vector gauge",
            "prom_test_vector{element=\"using\"} 1",
            "prom_test_vector{element=\"free\\\"d\"} -2"
        ]
    );
}

#[test]
fn variables_with_labels() {
    let requests = MultiDimension::<Adder<u64>>::new(&["method", "peer"]).unwrap();
    requests.get(&["echo", "\\a\"b\n"]).unwrap().add(3);
    requests.get(&["add", ""]).unwrap().add(1);
    let _requests = requests.expose("prom_test_multi_requests").unwrap();
    let latency = MultiDimension::with(&["idc"], || LatencyRecorder::new(LatencyUnit::Micros)).unwrap();
    latency.get(&["bj"]).unwrap().record(10);
    latency.get(&["sh"]).unwrap().record(20);
    let _latency = latency.expose("prom_test_multi_rpc").unwrap();
    let empty = MultiDimension::<Adder<u64>>::new(&["a"]).unwrap();
    let _empty = empty.expose("prom_test_multi_empty").unwrap();

    let text = page(Options::default());
    check(&text, Format::Text);
    assert_eq!(
        lines_of(&text, "prom_test_multi_requests")[1..],
        [
            "# TYPE prom_test_multi_requests counter",
            "prom_test_multi_requests{method=\"add\",peer=\"\"} 1",
            "prom_test_multi_requests{method=\"echo\",peer=\"\\\\a\\\"b\\n\"} 3",
        ]
    );
    let types: Vec<&str> = lines_of(&text, "prom_test_multi_rpc")
        .into_iter()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    assert_eq!(
        types,
        [
            "# TYPE prom_test_multi_rpc_latency summary",
            "# TYPE prom_test_multi_rpc_avg_latency gauge",
            "# TYPE prom_test_multi_rpc_max_latency gauge",
            "# TYPE prom_test_multi_rpc_qps gauge",
            "# TYPE prom_test_multi_rpc_count counter",
        ]
    );
    assert!(text.contains("\nprom_test_multi_rpc_latency_sum{idc=\"sh\"} 20\n"));
    assert!(text.contains("\nprom_test_multi_rpc_latency{idc=\"bj\",quantile=\"0.9999\"} "));
    assert!(text.contains("\nprom_test_multi_rpc_count{idc=\"bj\"} 1\n"));
    assert!(lines_of(&text, "prom_test_multi_empty").is_empty());

    let open = page(OPEN_METRICS);
    check(&open, Format::OpenMetrics);
    assert!(open.contains("\nprom_test_multi_requests_total{method=\"add\",peer=\"\"} 1\n"));
}

proptest! {
    #[test]
    fn any_value_of_a_label_is_read_back(value in "(\\PC|[\\\\\"\n\r\t]){0,20}") {
        let mut text = String::new();
        multi::write_label_value(&mut text, &value);
        prop_assert_eq!(unescaped(&text), value);
    }
}
