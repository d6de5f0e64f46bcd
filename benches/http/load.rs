//! The two clients: `wrk`, as fast as the server answers, and `http_load`, at a given rate.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::Options;
use crate::exchange::Kind;
use crate::peer::pinned;

pub(crate) const CONNECTIONS: usize = 50;

/// Latencies in microseconds at a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latencies {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// All requests got their answer in time.
    pub(crate) kept_up: bool,
}

/// Requests a second that a server answers. Panics if one of them fails.
pub(crate) fn throughput(options: &Options, kind: Kind, address: SocketAddr) -> f64 {
    let mut command = pinned(options.client_core, "wrk");
    command.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{}s", options.secs)]);
    let script = std::env::temp_dir().join(format!("bobbin-wrk-{}.lua", std::process::id()));
    if let Some(body) = kind.body() {
        let text = format!(
            "wrk.method = \"POST\"\nwrk.body = [[{body}]]\nwrk.headers[\"Content-Type\"] = \"application/json\"\n"
        );
        fs::write(&script, text).expect("a script for wrk");
        command.arg("-s").arg(&script);
    }
    command.arg(format!("http://{address}{}", kind.path()));
    let said = said_by(command);
    let _ = fs::remove_file(&script);
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "wrk has counted errors:\n{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    rate.and_then(|rate| rate.trim().parse().ok()).unwrap_or_else(|| panic!("no rate from wrk:\n{said}"))
}

/// Latencies at so many requests a second.
pub(crate) fn latencies(options: &Options, kind: Kind, address: SocketAddr, rate: f64) -> Latencies {
    let mut command = pinned(options.client_core, env!("CARGO_BIN_EXE_http_load"));
    command.args([&address.to_string(), kind.path()]);
    command.args(["--rate", &format!("{rate:.0}"), "--conns", &CONNECTIONS.to_string()]);
    command.args(["--secs", &options.secs.to_string()]);
    if let Some(body) = kind.body() {
        command.args(["--body", body]);
    }
    let said = said_by(command);
    let field = |name: &str| {
        let value = said.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("no {name}:\n{said}"))
    };
    Latencies {
        p50: field("p50"),
        p99: field("p99"),
        p999: field("p999"),
        kept_up: field("unsent") + field("unanswered") == 0.0,
    }
}

fn said_by(mut command: Command) -> String {
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?} ends with {}:\n{said}", output.status);
    said
}
