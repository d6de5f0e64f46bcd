//! Percentiles of a window against exact ones, on the distributions that latencies have.

use bvar::{LatencyRecorder, LatencyUnit, Sampler};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use std::time::Duration;

const VALUES: usize = 200_000;
const SECONDS: u32 = 10;

/// Uniform numbers in (0, 1), the same in each run.
fn uniform() -> impl Iterator<Item = f64> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let bits = any::<u64>();
    std::iter::from_fn(move || {
        let bits = bits.new_tree(&mut runner).expect("a number").current();
        Some((bits >> 12) as f64 / (1u64 << 52) as f64 + f64::EPSILON)
    })
}

fn assert_within_one_percent(name: &str, values: impl Iterator<Item = f64>) {
    let sampler = Sampler::new(Duration::ZERO);
    let recorder = LatencyRecorder::with_sampler(&sampler, LatencyUnit::Nanos, SECONDS);
    // Older ones, which the window must have forgotten.
    (0..1000).for_each(|_| recorder.record(1 << 40));
    sampler.tick(Duration::from_secs(1));
    let mut exact: Vec<u64> = values.take(VALUES).map(|value| value as u64).collect();
    for (i, part) in exact.chunks(VALUES / SECONDS as usize).enumerate() {
        part.iter().for_each(|value| recorder.record(*value));
        sampler.tick(Duration::from_secs(2 + i as u64));
    }
    exact.sort_unstable();
    let window = recorder.window();
    assert_eq!((window.count(), window.max()), (VALUES as u64, exact[VALUES - 1]), "{name}");
    for ratio in [0.5, 0.8, 0.9, 0.99, 0.999, 0.9999] {
        let exact = exact[(ratio * VALUES as f64).ceil() as usize - 1];
        let read = window.percentile(ratio);
        assert!(
            read.abs_diff(exact) as f64 <= exact as f64 / 100.0,
            "{name}: p{}: {read}, exactly {exact}",
            ratio * 100.0
        );
    }
}

#[test]
fn uniform_latencies() {
    assert_within_one_percent("uniform", uniform().map(|u| 1.0 + u * 10_000.0));
}

#[test]
fn exponential_latencies() {
    assert_within_one_percent("exponential", uniform().map(|u| -u.ln() * 50_000.0));
}

#[test]
fn lognormal_latencies() {
    let mut uniform = uniform();
    let normal = std::iter::from_fn(move || {
        let (u, v) = (uniform.next()?, uniform.next()?);
        Some((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos())
    });
    assert_within_one_percent("lognormal", normal.map(|n| (11.0 + 1.5 * n).exp()));
}

#[test]
fn latencies_with_a_heavy_tail() {
    assert_within_one_percent("Pareto", uniform().map(|u| (1000.0 / u.powf(1.0 / 1.1)).min(1e14)));
}
