//! Samples are dumped once or counted as dropped; limits follow.

use super::*;
use std::sync::mpsc::{Sender, channel};

struct Sample(u32, Sender<u32>);

impl Collected for Sample {
    fn dump(self: Box<Self>) {
        assert_ne!(self.0, 13, "a sample that panics");
        self.1.send(self.0).unwrap();
    }
}

fn limit(expected: u32) -> &'static SpeedLimit {
    Box::leak(Box::new(SpeedLimit::new(expected)))
}

#[test]
fn samples_are_dumped_in_order_and_the_rest_dropped() {
    let (collector, limit, (log, logged)) = (Collector::new(), limit(10), channel());
    let most = MAX_PENDING_SAMPLES as u32;
    (0..most + 5).for_each(|n| collector.submit(Box::new(Sample(n, log.clone())), limit));
    assert_eq!((collector.pending(), collector.dropped()), (MAX_PENDING_SAMPLES, 5));
    assert!(!collector.grab(GRAB_INTERVAL));
    // Room is made by dumps, not by grabs.
    collector.submit(Box::new(Sample(most + 5, log.clone())), limit);
    assert_eq!(collector.dropped(), 6);
    collector.dump();
    assert_eq!(logged.try_iter().collect::<Vec<_>>(), (0..most).filter(|n| *n != 13).collect::<Vec<_>>());
    assert_eq!((collector.pending(), collector.dumped.get()), (0, u64::from(most)));
    assert!(limit.ratio().share() < 1.0, "1006 samples in a tenth of a second, and 10 a second expected");
}

#[test]
fn nothing_is_left_to_do_once_all_limits_are_open_again() {
    let (collector, limit, (log, _logged)) = (Collector::new(), limit(10), channel());
    assert!(collector.grab(GRAB_INTERVAL));
    (0..200).for_each(|n| collector.submit(Box::new(Sample(n, log.clone())), limit));
    let grabs = (0..1000).take_while(|_| !collector.grab(GRAB_INTERVAL)).count();
    assert!((2..200).contains(&grabs), "{grabs}");
    assert_eq!(limit.ratio().share(), 1.0);
}

#[test]
fn the_collector_of_the_process_wakes_for_each_sample() {
    let ((log, logged), limit) = (channel(), limit(1000));
    for n in 100..103 {
        // Each comes back before the next is submitted: whatever state the threads are in, they notice.
        Collector::global().submit(Box::new(Sample(n, log.clone())), limit);
        assert_eq!(logged.recv(), Ok(n));
    }
    for name in [
        "pending_samples",
        "dropped_samples",
        "grab_thread_usage",
        "grab_second",
        "dump_thread_usage",
        "dump_second",
    ] {
        assert!(crate::describe(&format!("bvar_collector_{name}")).is_some(), "{name}");
    }
}
