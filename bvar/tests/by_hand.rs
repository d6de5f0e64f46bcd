//! A process in which this crate starts no threads: its own, as that is for good.

use bvar::{
    Adder, Collected, Collector, LatencyRecorder, LatencyUnit, SpeedLimit, Variable, Window, background,
};
use std::sync::{Arc, mpsc};
use std::time::Duration;

struct Sample(u32, mpsc::Sender<u32>);

impl Collected for Sample {
    fn dump(self: Box<Self>) {
        self.1.send(self.0).unwrap();
    }
}

/// Those of the process, this crate's among them.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks.map(name).filter(|name| name.starts_with("bvar")).collect()
}

#[test]
fn nothing_happens_but_by_hand() {
    static LIMIT: SpeedLimit = SpeedLimit::new(1000);
    background::by_hand().unwrap();
    background::by_hand().unwrap();

    let requests = Arc::new(Adder::<u64>::new());
    let recent = Window::new(requests.clone(), 2);
    let latency = LatencyRecorder::new(LatencyUnit::Micros).expose("by_hand_test").unwrap();
    let history = Adder::<u64>::new().expose("by_hand_test_history").unwrap();
    let (dumps, dumped) = mpsc::channel();
    for second in 1..=10 {
        requests.add(second);
        history.add(1);
        latency.record(5);
        Collector::global().submit(Box::new(Sample(second as u32, dumps.clone())), &LIMIT);
        assert_eq!(recent.get(), if second > 2 { 2 * second - 3 } else { second - 1 }, "up to the last tick");
        background::tick(Duration::from_secs(second));
        assert_eq!(dumped.try_recv(), Ok(second as u32));
    }
    assert_eq!((recent.get(), recent.span()), (9 + 10, Duration::from_secs(2)));
    assert_eq!(Collector::global().pending(), 0);

    for _ in 0..bvar::MAX_PENDING_SAMPLES + 7 {
        Collector::global().submit(Box::new(Sample(0, dumps.clone())), &LIMIT);
    }
    assert_eq!(
        (Collector::global().pending(), Collector::global().dropped()),
        (bvar::MAX_PENDING_SAMPLES, 7)
    );
    bvar::flag::set("bvar_dump", "true").unwrap();
    assert_eq!(threads(), Vec::<String>::new());
}
