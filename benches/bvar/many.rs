//! Very many variables: sampling them and going through them.

use bvar::{Adder, DisplayFilter, LatencyRecorder, LatencyUnit, Sampler, Variable};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

fn millis(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}

/// One tick of so many recorders, each of which got 10 latencies if they are busy.
pub(crate) fn tick(count: usize, is_busy: bool) -> f64 {
    let sampler = Sampler::new(Duration::ZERO);
    let recorders: Vec<_> =
        (0..count).map(|_| LatencyRecorder::with_sampler(&sampler, LatencyUnit::Micros, 10)).collect();
    let mut time = 0.0;
    for second in 1..=3 {
        if is_busy {
            recorders.iter().for_each(|recorder| (0..10).for_each(|i| recorder.record(1000 + 7 * i)));
        }
        let begun = Instant::now();
        sampler.tick(Duration::from_secs(second));
        time = millis(begun);
    }
    time
}

fn exposed(count: usize) -> Vec<impl Sized> {
    let expose = |i| Adder::<i64>::new().expose(&format!("bench_{i}")).expect("a free name");
    let exposed: Vec<_> = (0..count).map(expose).collect();
    exposed.iter().for_each(|sum| sum.add(1));
    exposed
}

/// A line for each of so many exposed sums.
pub(crate) fn walk(count: usize) -> f64 {
    let _exposed = exposed(count);
    let mut text = String::new();
    let begun = Instant::now();
    let _ = bvar::for_each(DisplayFilter::Text, |name, variable| {
        text.push_str(name);
        text.push_str(" : ");
        variable.describe(&mut text, true).expect("a string takes it");
        text.push_str("\r\n");
        ControlFlow::Continue(())
    });
    let time = millis(begun);
    assert!(text.lines().count() >= count);
    time
}

/// The histories of 100 of so many exposed sums.
pub(crate) fn series(count: usize) -> f64 {
    let _exposed = exposed(count);
    // Two ticks of the process's sampler.
    std::thread::sleep(Duration::from_millis(2100));
    let begun = Instant::now();
    for i in 0..100 {
        bvar::series(&format!("bench_{i}")).expect("a history");
    }
    millis(begun)
}
