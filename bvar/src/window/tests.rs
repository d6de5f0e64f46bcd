//! Windows, with a sampler that is driven by hand.

use super::*;
use crate::{Adder, Histogram, IntRecorder, Maxer, Miner};
use proptest::prelude::*;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

const SECOND: Duration = Duration::from_secs(1);

fn sampler() -> Sampler {
    Sampler::new(Duration::ZERO)
}

/// Ticks at whole seconds, with something done before each.
fn run(sampler: &Sampler, seconds: std::ops::RangeInclusive<u32>, mut before: impl FnMut(u32)) {
    for second in seconds {
        before(second);
        sampler.tick(SECOND * second);
    }
}

#[test]
fn a_window_has_what_came_since_it_was_opened_and_at_most_its_seconds() {
    let (sampler, sum) = (sampler(), Arc::new(Adder::<i64>::new()));
    sum.add(1000);
    let window = Window::with_sampler(&sampler, sum.clone(), 3);
    assert_eq!((window.get(), window.span()), (0, Duration::ZERO));
    let mut seen = Vec::new();
    run(&sampler, 1..=5, |second| {
        seen.push((window.get(), window.span().as_secs()));
        sum.add(i64::from(second));
    });
    assert_eq!(seen, [(0, 0), (1, 1), (3, 2), (6, 3), (9, 3)]);
    assert_eq!((window.get(), window.over(1), window.over(100), sum.get()), (12, 5, 12, 1015));
    // An idle variable keeps nothing.
    run(&sampler, 6..=8, |_| {});
    assert_eq!((window.get(), window.span()), (0, SECOND * 3));
}

#[test]
fn one_sampler_serves_all_windows_of_a_variable_and_the_longest_counts() {
    let (sampler, sum) = (sampler(), Arc::new(Adder::<u64>::new()));
    let short = Window::with_sampler(&sampler, sum.clone(), 1);
    run(&sampler, 1..=4, |_| sum.add(1));
    let long = Window::with_sampler(&sampler, sum.clone(), 10);
    assert_eq!(sampler.sampled(), 1);
    run(&sampler, 5..=10, |_| sum.add(1));
    // What the short window alone would not have kept is gone.
    assert_eq!((short.get(), long.get()), (1, 7));
    drop((short, long));
    sampler.tick(SECOND * 11);
    assert_eq!(sampler.sampled(), 0, "nobody looks any more");
    let again = Window::with_sampler(&sampler, sum.clone(), 10);
    assert_eq!((sampler.sampled(), again.get()), (1, 0));
    drop((again, sum));
    sampler.tick(SECOND * 12);
    assert_eq!(sampler.sampled(), 0, "the variable is gone");
}

#[test]
fn maxima_and_minima_of_a_window_leave_those_since_creation_alone() {
    let (sampler, max, min) = (sampler(), Arc::new(Maxer::<i64>::new()), Arc::new(Miner::<i64>::new()));
    max.record(1_000_000);
    let (tops, lows) =
        (Window::with_sampler(&sampler, max.clone(), 2), Window::with_sampler(&sampler, min.clone(), 2));
    assert_eq!((tops.get(), lows.get()), (i64::MIN, i64::MAX));
    let mut seen = Vec::new();
    run(&sampler, 1..=5, |second| {
        let value = [5, -7, 3, 4, 2][second as usize - 1];
        max.record(value);
        min.record(value);
        seen.push((tops.get(), lows.get(), max.get(), min.get()));
    });
    let none = (i64::MIN, i64::MAX);
    let all = 1_000_000;
    let expected =
        [(none.0, none.1, all, 5), (5, 5, all, -7), (5, -7, all, -7), (3, -7, all, -7), (4, 3, all, -7)];
    assert_eq!(seen, expected);
    assert_eq!((tops.get(), lows.get()), (4, 2));
}

#[test]
fn rates_go_by_the_real_time_between_ticks() {
    let (sampler, sum) = (sampler(), Arc::new(Adder::<i64>::new()));
    let rate = PerSecond::with_sampler(&sampler, sum.clone(), 2);
    assert_eq!((rate.get(), rate.value()), (0.0, Value::Int(0)));
    sum.add(30);
    sampler.tick(Duration::from_millis(1500));
    assert_eq!(rate.get(), 20.0);
    sum.add(5);
    sampler.tick(Duration::from_millis(4000));
    sum.add(2);
    sampler.tick(Duration::from_millis(4500));
    // Two ticks: 7 in 3 s.
    assert_eq!((rate.get(), rate.value()), (7.0 / 3.0, Value::Int(2)));
}

#[test]
fn windows_over_every_kind_agree() {
    let sampler = sampler();
    let (sum, average) = (Arc::new(Adder::<u64>::new()), Arc::new(IntRecorder::new()));
    let (floats, histogram) = (Arc::new(Adder::<f64>::new()), Arc::new(Histogram::new()));
    static ASKED: AtomicI64 = AtomicI64::new(500);
    let passive = Arc::new(PassiveStatus::new(|| ASKED.load(Relaxed)));
    let own = WindowEx::<Adder<u64>>::with_sampler(&sampler, 10);
    let own_rate = PerSecondEx::<Adder<u64>>::with_sampler(&sampler, 10);
    let windows = (
        Window::with_sampler(&sampler, sum.clone(), 10),
        Window::with_sampler(&sampler, average.clone(), 10),
        Window::with_sampler(&sampler, floats.clone(), 10),
        Window::with_sampler(&sampler, histogram.clone(), 10),
        Window::with_sampler(&sampler, passive, 10),
    );
    run(&sampler, 1..=20, |second| {
        let value = if second <= 10 { 1_000_000 } else { u64::from(second) };
        sum.add(value);
        own.add(value);
        own_rate.add(value);
        average.record(value as i64);
        floats.add(value as f64);
        histogram.record(value);
        ASKED.fetch_add(value as i64, Relaxed);
    });
    let total = (11..=20).sum::<u64>();
    let seen = windows.3.get();
    assert_eq!((windows.0.get(), windows.2.get(), windows.4.get()), (total, total as f64, total as i64));
    assert_eq!((windows.1.get().average(), windows.1.value()), (15.5, Value::Int(15)));
    assert_eq!((seen.count(), seen.sum(), seen.max(), seen.percentile(0.5)), (10, total, 20, 15));
    assert_eq!((own.window_value(), own.get(), own_rate.rate()), (total, sum.get(), total as f64 / 10.0));
    assert_eq!(own_rate.value().to_string(), "16");
    assert_eq!(windows.3.value().to_string(), "count=10 avg=15.5 max=20 p50=15 p90=19 p99=20 p999=20");
}

#[test]
fn lengths_have_a_default_and_a_bound() {
    let window = |seconds| Window::with_sampler(&sampler(), Arc::new(Adder::<i64>::new()), seconds).seconds();
    assert_eq!([0, 1, 3600, 3601, u32::MAX].map(window), [10, 1, 3600, 3600, 3600]);
}

#[test]
fn the_longest_window_keeps_no_more_than_its_seconds() {
    let (sampler, sum) = (sampler(), Arc::new(Adder::<u64>::new()));
    let window = Window::with_sampler(&sampler, sum.clone(), MAX_WINDOW_SECONDS);
    run(&sampler, 1..=2 * MAX_WINDOW_SECONDS, |_| sum.add(1));
    assert_eq!((window.get(), window.span().as_secs()), (u64::from(MAX_WINDOW_SECONDS), 3600));
}

#[test]
fn a_panic_of_an_asked_function_costs_one_sample() {
    let sampler = sampler();
    static ASKED: AtomicI64 = AtomicI64::new(0);
    let moody = Arc::new(PassiveStatus::new(|| {
        let n = ASKED.fetch_add(1, Relaxed);
        assert_ne!(n, 2, "the user's");
        n
    }));
    let window = Window::with_sampler(&sampler, moody, 10);
    let sum = Arc::new(Adder::<u64>::new());
    let other = Window::with_sampler(&sampler, sum.clone(), 10);
    run(&sampler, 1..=4, |_| sum.add(1));
    assert_eq!((window.get(), other.get(), sampler.sampled()), (4, 4, 2));
}

#[test]
fn an_asked_function_may_open_windows_itself() {
    let sampler = sampler();
    let inner = sampler.clone();
    let sum = Arc::new(Adder::<u64>::new());
    let passive = {
        let sum = sum.clone();
        Arc::new(PassiveStatus::new(move || Window::with_sampler(&inner, sum.clone(), 3).get()))
    };
    let window = Window::with_sampler(&sampler, passive, 3);
    run(&sampler, 1..=5, |_| sum.add(1));
    assert!(window.span() == SECOND * 3);
}

#[test]
fn windows_are_opened_and_closed_while_the_sampler_ticks() {
    let sampler = sampler();
    let sums: Vec<_> = (0..4).map(|_| Arc::new(Adder::<u64>::new())).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (sampler, sums) = (&sampler, &sums);
            scope.spawn(move || {
                for round in 0..200 {
                    let sum = &sums[(thread + round) % 4];
                    let window = Window::with_sampler(sampler, sum.clone(), 5);
                    sum.add(1);
                    assert!(window.get() <= sum.get());
                }
            });
        }
        scope.spawn(|| run(&sampler, 1..=200, |_| std::thread::yield_now()));
    });
    sampler.tick(SECOND * 201);
    assert_eq!(sampler.sampled(), 0);
    assert_eq!(sums.iter().map(|sum| sum.get()).sum::<u64>(), 800);
}

#[test]
fn the_sampler_of_the_process_ticks_by_itself() {
    let sum = Arc::new(Adder::<u64>::new());
    let window = Window::new(sum.clone(), 60);
    sum.add(100);
    let begun = std::time::Instant::now();
    while window.get() != 100 {
        assert!(begun.elapsed() < SECOND * 60, "no tick in a minute");
        std::thread::yield_now();
    }
    assert!(window.span() > Duration::ZERO);
}

proptest! {
    /// Whatever came when: a window is the fold of its seconds.
    #[test]
    fn a_window_is_the_fold_of_its_seconds(
        parts in prop::collection::vec(prop::collection::vec(-1000i64..1000, 0..4), 1..30),
        seconds in 1u32..12,
    ) {
        let sampler = sampler();
        let (sum, max, min) = (Arc::new(Adder::<i64>::new()), Arc::new(Maxer::<i64>::new()), Arc::new(Miner::<f64>::new()));
        let windows = (
            Window::with_sampler(&sampler, sum.clone(), seconds),
            Window::with_sampler(&sampler, max.clone(), seconds),
            Window::with_sampler(&sampler, min.clone(), seconds),
        );
        for (i, part) in parts.iter().enumerate() {
            for value in part {
                sum.add(*value);
                max.record(*value);
                min.record(*value as f64);
            }
            sampler.tick(SECOND * (i as u32 + 1));
            let recent = parts[(i + 1).saturating_sub(seconds as usize)..=i].concat();
            prop_assert_eq!(windows.0.get(), recent.iter().sum::<i64>());
            prop_assert_eq!(windows.1.get(), recent.iter().copied().max().unwrap_or(i64::MIN));
            prop_assert_eq!(windows.2.get(), recent.iter().map(|v| *v as f64).fold(f64::INFINITY, f64::min));
        }
        let all = parts.concat();
        prop_assert_eq!((sum.get(), max.get()), (all.iter().sum(), all.iter().copied().max().unwrap_or(i64::MIN)));
    }
}
