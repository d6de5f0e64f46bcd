//! Prints the metrics page of a process that has every kind of variable; with `--openmetrics` in that format.

use bvar::{
    Adder, Histogram, IntRecorder, LatencyRecorder, LatencyUnit, Maxer, Miner, MultiDimension, PassiveStatus,
    PerSecond, Status, Variable, Window, default_variables, prometheus,
};
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let is_open = std::env::args().skip(1).any(|arg| arg == "--openmetrics");
    let format = if is_open { prometheus::Format::OpenMetrics } else { prometheus::Format::Text };

    default_variables::expose();
    let served = Arc::new(Adder::<u64>::new());
    served.add(12);
    let depth = Adder::<i64>::new().expose("queue_depth")?;
    depth.add(-4);
    let longest = Maxer::<u64>::new().expose("longest_queue")?;
    longest.record(9);
    let shortest = Miner::<i64>::new().expose("shortest_queue")?;
    shortest.record(-9);
    let size = IntRecorder::new().expose("body_size")?;
    size.record(320);
    let sizes = Histogram::new().expose("body_sizes")?;
    (1..1000).for_each(|size| sizes.record(size));
    let windows = (
        Window::new(served.clone(), 10).expose("served_window")?,
        PerSecond::new(served.clone(), 10).expose("served_second")?,
        bvar::expose("served_total", served)?,
    );
    let others = (
        Status::new("running".to_owned()).expose("phase")?,
        Status::new(f64::NAN).expose("ratio")?,
        PassiveStatus::new(|| [1u64, 2]).with_element_names(["using", "free"]).expose("session_data")?,
        Status::new(5i64).expose("rpc_server_8000_connection_count")?,
    );
    let latency = LatencyRecorder::new(LatencyUnit::Micros).expose("rpc_server_8000_echo")?;
    let work = LatencyRecorder::new(LatencyUnit::Nanos).expose("work")?;
    for micros in 1..=1000 {
        latency.record(micros);
        work.record(micros * 1000);
    }
    let requests = MultiDimension::<Adder<u64>>::new(&["method", "peer"])?;
    for peer in ["10.0.0.1", "a \"quoted\" one", "two\nlines", "back\\slash", ""] {
        requests.get(&["echo", peer]).ok_or("two values for two labels")?.add(1);
    }
    let calls = MultiDimension::with(&["idc"], || LatencyRecorder::new(LatencyUnit::Micros))?;
    calls.get(&["bj"]).ok_or("one value for one label")?.record(77);
    let labelled = (requests.expose("requests")?, calls.expose("calls")?);

    let mut page = String::new();
    prometheus::write(&mut page, prometheus::Options { format, latency_histograms: true });
    print!("{page}");
    drop((windows, others, labelled));
    Ok(())
}
