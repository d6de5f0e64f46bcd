//! Variables with labels under their names: exposing, describing, and values of every kind.

use bvar::multi::{self, Sample, Stat};
use bvar::{
    Adder, ExposeError, IntRecorder, LatencyRecorder, LatencyUnit, Maxer, Miner, MultiDimension, Status,
    Variable, flag,
};
use std::sync::Arc;
use std::thread;

#[test]
fn a_variable_with_labels_is_visible_until_its_exposure_is_dropped() {
    let requests = MultiDimension::<Adder<i64>>::new(&["idc", "method"]).unwrap();
    let requests = requests.expose("MultiTest::Requests").unwrap();
    requests.get(&["bj", "get"]).unwrap().add(1);
    requests.get(&["bj", "put"]).unwrap().add(1);
    assert_eq!(requests.name(), "multi_test_requests");
    let json = r#"{"name":"multi_test_requests","labels":["idc","method"],"stats_count":2,"evicted":0}"#;
    assert_eq!(multi::describe("multi_test_requests").as_deref(), Some(json));
    assert!(multi::names().contains(&"multi_test_requests".to_owned()) && multi::count() >= 1);
    assert_eq!(multi::describe("MultiTest::Requests"), None, "only the normalised name finds it");

    let other = MultiDimension::<Adder<i64>>::new(&["a"]).unwrap();
    let taken = other.expose("multi_test_requests").unwrap_err();
    assert_eq!(taken, ExposeError::Duplicate("multi_test_requests".into()));
    assert_eq!(multi::describe("multi_test_requests").as_deref(), Some(json));

    let requests = requests.hide();
    assert_eq!(multi::describe("multi_test_requests"), None);
    let again = multi::expose("MultiTest-Again", requests).unwrap();
    assert_eq!((again.name(), again.count()), ("multi_test_again", 2));
    drop(again);
    let prefixed =
        MultiDimension::<Adder<i64>>::new(&["a"]).unwrap().expose_as("multi_test", "Prefixed").unwrap();
    assert_eq!(prefixed.name(), "multi_test_prefixed");
    assert_eq!(
        MultiDimension::<Adder<i64>>::new(&["a"]).unwrap().expose("").unwrap_err(),
        ExposeError::EmptyName
    );
}

#[test]
fn plain_variables_keep_their_names() {
    let _plain = Status::new(1i64).expose("multi_test_plain").unwrap();
    let refused = MultiDimension::<Adder<i64>>::new(&["a"]).unwrap().expose("multi_test_plain");
    assert_eq!(refused.unwrap_err(), ExposeError::Duplicate("multi_test_plain".into()));
}

fn samples<V: Stat>(stat: &V) -> Vec<Sample> {
    let mut samples = Vec::new();
    (0..stat.families().len()).for_each(|family| stat.samples(family, &mut |sample| samples.push(sample)));
    samples
}

#[test]
fn any_kind_of_variable_can_be_held() {
    let max = MultiDimension::<Maxer<u64>>::new(&["a"]).unwrap();
    max.get(&["x"]).unwrap().record(5);
    max.get(&["x"]).unwrap().record(3);
    let min = MultiDimension::<Miner<i64>>::new(&["a"]).unwrap();
    min.get(&["x"]).unwrap().record(-5);
    let average = MultiDimension::<IntRecorder>::new(&["a"]).unwrap();
    average.get(&["x"]).unwrap().record(8);
    let status = MultiDimension::with(&["a"], || Status::new(0i64)).unwrap();
    status.get(&["x"]).unwrap().set(9);
    let values = [
        samples(&*max.get(&["x"]).unwrap()),
        samples(&*min.get(&["x"]).unwrap()),
        samples(&*average.get(&["x"]).unwrap()),
        samples(&*status.get(&["x"]).unwrap()),
    ];
    assert_eq!(values.map(|samples| samples[0].value.to_string()), ["5", "-5", "8", "9"]);

    let latency = MultiDimension::with(&["a"], || LatencyRecorder::new(LatencyUnit::Micros)).unwrap();
    latency.get(&["x"]).unwrap().record(70);
    let samples = samples(&*latency.get(&["x"]).unwrap());
    let names: Vec<String> = samples
        .iter()
        .map(|sample| {
            format!("{}{}", sample.suffix, sample.quantile.map(|q| q.to_string()).unwrap_or_default())
        })
        .collect();
    let expected = [
        "_latency_sum",
        "_latency_count",
        "_latency0.8",
        "_latency0.9",
        "_latency0.99",
        "_latency0.999",
        "_latency0.9999",
        "_avg_latency",
        "_max_latency",
        "_qps",
        "_count",
    ];
    assert_eq!(names, expected);
    assert_eq!((samples[0].value.to_string(), samples[10].value.to_string()), ("70".into(), "1".into()));
}

#[test]
fn the_limit_is_a_flag() {
    let stats = MultiDimension::<Adder<i64>>::new(&["n"]).unwrap();
    assert_eq!(stats.limit(), 20_000);
    assert!(flag::set("max_multi_dimension_stats_count", "0").is_err());
    flag::set("max_multi_dimension_stats_count", "30000").unwrap();
    assert_eq!(stats.limit(), 30_000);
    stats.set_limit(4);
    flag::set("max_multi_dimension_stats_count", "20000").unwrap();
    assert_eq!(stats.limit(), 4);
    (0..10).for_each(|n| drop(stats.get(&[n.to_string()])));
    assert_eq!((stats.count(), stats.evicted()), (4, 6));
}

#[test]
fn handles_outlive_deletion_from_other_threads() {
    let stats = Arc::new(MultiDimension::<Adder<i64>>::new(&["n"]).unwrap());
    let total = Arc::new(Adder::<i64>::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            let (stats, total) = (stats.clone(), total.clone());
            scope.spawn(move || {
                for i in 0..10_000 {
                    let handle = stats.get(&[(i % 5).to_string()]).unwrap();
                    handle.add(1);
                    total.add(1);
                }
            });
        }
        let stats = stats.clone();
        scope.spawn(move || {
            for i in 0..2000 {
                stats.delete(&[(i % 5).to_string()]);
                if i % 100 == 0 {
                    stats.clear();
                }
            }
        });
    });
    assert_eq!(total.get(), 20_000);
    assert!(stats.count() <= 5);
    assert_eq!(stats.count(), stats.list().len());
}
