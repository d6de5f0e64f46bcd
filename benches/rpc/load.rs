//! Runs a load generator or a client, and reads its line of figures.

use std::process::{Command, Stdio};

/// What a load generator or client has printed; latencies in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) qps: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Of the server's processor for one call, in microseconds; 0: not measured.
    pub(crate) cpu: f64,
}

/// The figures that a program prints as `qps=… p50=… …`. Panics if it counts errors.
pub(crate) fn figures(mut command: Command) -> Figures {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        let value = said.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value
            .and_then(|value| value.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("{command:?}: no {name}:\n{said}"))
    };
    assert!(output.status.success() && field("errors") == 0.0, "{command:?}: {}\n{said}", output.status);
    Figures { qps: field("qps"), p50: field("p50"), p99: field("p99"), p999: field("p999"), cpu: 0.0 }
}

/// The median of each figure.
pub(crate) fn medians(rounds: &[Figures]) -> Figures {
    let of = |pick: fn(&Figures) -> f64| {
        crate::figures::median(rounds.iter().map(pick).collect()).expect("a round at least")
    };
    Figures {
        qps: of(|f| f.qps),
        p50: of(|f| f.p50),
        p99: of(|f| f.p99),
        p999: of(|f| f.p999),
        cpu: of(|f| f.cpu),
    }
}
