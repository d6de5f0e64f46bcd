//! Latency recorders, with a sampler that is driven by hand.

use super::*;
use crate::registry;
use crate::status::Status;
use crate::variable::{DisplayFilter, Kind, Trend, Value, Variable};
use std::ops::ControlFlow;

fn recorder(unit: LatencyUnit, seconds: u32) -> (Sampler, LatencyRecorder) {
    let sampler = Sampler::new(Duration::ZERO);
    let recorder = LatencyRecorder::with_sampler(&sampler, unit, seconds);
    (sampler, recorder)
}

fn listing(prefix: &str, wanted: DisplayFilter) -> Vec<String> {
    let mut lines = Vec::new();
    let ended = registry::for_each(wanted, |name, variable| {
        if name.starts_with(prefix) {
            lines.push(format!("{name} : {}", variable.value()));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(ended, ControlFlow::Continue(()));
    lines
}

#[test]
fn an_untouched_recorder_is_all_zero() {
    let (sampler, recorder) = recorder(LatencyUnit::Micros, 0);
    assert_eq!(recorder.snapshot().to_string(), "count=0 avg=0.0 max=0 p50=0 p90=0 p99=0 p999=0");
    assert_eq!(recorder.to_string(), "{latency=0 max10=0 qps=0 count=0}");
    sampler.tick(Duration::from_secs(1));
    assert_eq!((recorder.window().count(), recorder.window().qps()), (0, 0.0));
}

#[test]
fn durations_are_recorded_in_the_unit() {
    let (micros, nanos) = (recorder(LatencyUnit::Micros, 0).1, recorder(LatencyUnit::Nanos, 0).1);
    for duration in [Duration::from_nanos(2500), Duration::from_micros(4), Duration::MAX] {
        micros.record_duration(duration);
        nanos.record_duration(duration);
    }
    assert_eq!((micros.snapshot().percentile(0.3), micros.snapshot().percentile(0.6)), (2, 4));
    assert_eq!(nanos.totals().sum, 2500 + 4000 + Histogram::MAX_VALUE);
    assert_eq!((nanos.snapshot().max(), nanos.totals().max), (Histogram::MAX_VALUE, Histogram::MAX_VALUE));
}

#[test]
fn percentiles_stay_below_the_maximum() {
    let (sampler, recorder) = recorder(LatencyUnit::Nanos, 0);
    recorder.record(1_000_000);
    sampler.tick(Duration::from_secs(1));
    for seen in [&recorder.snapshot(), &**recorder.window()] {
        assert_eq!(
            (seen.percentile(0.5), seen.percentile(1.0), seen.max()),
            (1_000_000, 1_000_000, 1_000_000)
        );
    }
}

#[test]
fn the_window_forgets_and_the_totals_do_not() {
    let (sampler, recorder) = recorder(LatencyUnit::Micros, 3);
    for second in 1..=6u64 {
        (0..second).for_each(|_| recorder.record(second * 100));
        sampler.tick(Duration::from_secs(second));
        let first = second.saturating_sub(2).max(1);
        let window = recorder.window();
        let count = (first..=second).sum::<u64>();
        assert_eq!((window.count(), window.max()), (count, second * 100));
        assert_eq!(window.sum(), (first..=second).map(|s| s * s * 100).sum::<u64>());
        assert_eq!(window.qps(), count as f64 / second.min(3) as f64);
        assert!(Arc::ptr_eq(&window, &recorder.window()), "computed twice in a second");
        assert_eq!(recorder.last_second().count(), second);
    }
    for second in 7..=9 {
        sampler.tick(Duration::from_secs(second));
    }
    assert_eq!((recorder.window().count(), recorder.window().max()), (0, 0));
    let totals = LatencyTotals { count: 21, sum: 9100, max: 600 };
    assert_eq!((recorder.totals(), recorder.count()), (totals, 21));
}

#[test]
fn rates_of_few_latencies_are_exact() {
    for (count, seconds) in [(1, 2), (3, 2), (10, 3), (11, 3)] {
        let (sampler, recorder) = recorder(LatencyUnit::Micros, 10);
        (0..count).for_each(|_| recorder.record(1));
        (1..=seconds).for_each(|second| sampler.tick(Duration::from_secs(second)));
        assert_eq!(recorder.window().qps(), count as f64 / seconds as f64);
        // As a variable, an integer next to it, which is right on average.
        let exposed = recorder.expose("latency_test_qps").unwrap();
        let qps = registry::find("latency_test_qps_qps").unwrap();
        let sum: f64 = (0..10_000).map(|_| qps.value().as_f64().unwrap()).sum();
        let average = sum / 10_000.0;
        assert!(
            (average - count as f64 / seconds as f64).abs() < 0.05,
            "{average} for {count} in {seconds} s"
        );
        drop(exposed);
    }
}

#[test]
fn the_variables_of_an_exposed_recorder() {
    let (sampler, recorder) = recorder(LatencyUnit::Nanos, 10);
    let recorder = recorder.expose("LatencyTest::Echo_Latency").unwrap();
    (1..=10_000).for_each(|micros| recorder.record(micros * 1000));
    sampler.tick(Duration::from_secs(5));
    assert_eq!(recorder.names().count(), 11);
    let text = [
        "latency_test_echo_count : 10000",
        "latency_test_echo_latency : 5000",
        "latency_test_echo_latency_80 : 8028",
        "latency_test_echo_latency_90 : 8978",
        "latency_test_echo_latency_99 : 9895",
        "latency_test_echo_latency_999 : 10000",
        "latency_test_echo_latency_9999 : 10000",
        "latency_test_echo_max_latency : 10000",
        "latency_test_echo_qps : 2000",
    ];
    let html = [
        "latency_test_echo_count : 10000",
        "latency_test_echo_latency : 5000",
        "latency_test_echo_latency_cdf : click to view",
        "latency_test_echo_latency_percentiles : [8028,8978,9895,10000]",
        "latency_test_echo_max_latency : 10000",
        "latency_test_echo_qps : 2000",
    ];
    assert_eq!(listing("latency_test_echo_", DisplayFilter::Text), text);
    assert_eq!(listing("latency_test_echo_", DisplayFilter::Html), html);
    assert_eq!(listing("latency_test_echo_", DisplayFilter::All).len(), 11);
    assert_eq!(recorder.to_string(), "{latency=5000500 max10=10000000 qps=2000 count=10000}");
    let cdf = registry::series("latency_test_echo_latency_cdf").unwrap();
    assert!(
        cdf.starts_with(r#"{"label":"cdf","data":[[10,1"#) && cdf.ends_with("[100,10000],[101,10000]]}"),
        "{cdf}"
    );
    for (name, kind, trend, figure) in [
        ("count", Kind::Counter, Trend::Average, Figure::Count),
        ("max_latency", Kind::Gauge, Trend::Max, Figure::MaxLatency),
        ("latency_99", Kind::Gauge, Trend::Average, Figure::Percentile { ratio: 0.99 }),
        ("latency_cdf", Kind::Gauge, Trend::None, Figure::Cdf),
    ] {
        let variable = registry::find(&format!("latency_test_echo_{name}")).unwrap();
        assert_eq!((variable.kind(), variable.trend()), (kind, trend), "{name}");
        let part = variable.latency_figure().unwrap();
        assert_eq!((part.prefix, part.figure, part.recorder.count()), ("latency_test_echo", figure, 10_000));
    }
    drop(recorder);
    assert_eq!(listing("latency_test_echo_", DisplayFilter::All), [""; 0]);
}

#[test]
fn histories_get_the_last_second_of_the_window() {
    let (sampler, recorder) = recorder(LatencyUnit::Micros, 10);
    let recorder = recorder.expose("latency_test_history").unwrap();
    for second in 1..=3 {
        recorder.record(100 * second);
        sampler.tick(Duration::from_secs(second));
    }
    let trend = |name: &str| registry::find(&format!("latency_test_history_{name}")).unwrap().trend_value();
    assert_eq!(
        (trend("latency"), trend("max_latency"), trend("qps")),
        (300i64.into(), 300u64.into(), 1u64.into())
    );
    assert_eq!(trend("count"), Value::Uint(3));
    let percentiles = registry::find("latency_test_history_latency_percentiles").unwrap();
    assert_eq!(percentiles.element_names(), ["80%", "90%", "99%", "99.9%"]);
    drop(recorder);
}

#[test]
fn a_taken_name_takes_none() {
    let _taken = Status::new("mine").expose("latency_test_taken_latency_999").unwrap();
    let error = recorder(LatencyUnit::Micros, 0).1.expose("latency_test_taken").unwrap_err();
    assert_eq!(error, ExposeError::Duplicate("latency_test_taken_latency_999".into()));
    assert_eq!(listing("latency_test_taken", DisplayFilter::All), ["latency_test_taken_latency_999 : mine"]);
}

#[test]
fn a_prefix_of_nothing_but_latency_is_an_error() {
    for prefix in ["latency", "Latency", "", "_latency"] {
        let error = recorder(LatencyUnit::Micros, 0).1.expose(prefix).unwrap_err();
        assert_eq!(error, ExposeError::EmptyName, "{prefix}");
    }
}

#[test]
fn latency_at_the_end_of_a_prefix_is_dropped() {
    let exposed = recorder(LatencyUnit::Micros, 0).1.expose("LatencyTrim__latency").unwrap();
    assert!(
        exposed.names().all(|name| name.starts_with("latency_trim_") && !name.contains("latency_latency"))
    );
    assert!(exposed.names().any(|name| name == "latency_trim_latency"));
}
