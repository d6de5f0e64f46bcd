//! `/memory`: what the process takes, as the system counts it.

use std::fmt::Write as _;
use std::fs;

use super::context::PageContext;
use super::page::Page;
use super::reply::{PageReply, lines};
use super::request::PageRequest;
use super::sockets::preformatted;
use crate::buffers;

/// The lines of `/proc/self/status` that are about memory and threads.
const STATUS: &[&str] = &[
    "VmPeak", "VmSize", "VmLck", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk",
    "VmExe", "VmLib", "VmPTE", "VmSwap", "Threads",
];

pub(super) struct Memory;

impl Page for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "Memory of the process"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        preformatted(context, request, "memory", || bthread::blocking(counts))
    }
}

fn counts() -> String {
    let mut out = String::from(
        "# The allocator tells nothing of itself; these are the system's counts. See also /hotspots/heap.\n\n[process]\n",
    );
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status.lines() {
        if line.split_once(':').is_some_and(|(name, _)| STATUS.contains(&name)) {
            _ = writeln!(out, "{line}");
        }
    }
    out.push_str("\n[mappings]\n");
    match fs::read_to_string("/proc/self/smaps_rollup") {
        Ok(rollup) => out.push_str(&lines(rollup.split_once('\n').map_or("", |(_, rest)| rest))),
        Err(error) => _ = writeln!(out, "not told by the system: {error}"),
    }
    out.push_str("\n[buffers]\n");
    out.push_str(&buffers::describe());
    out.push_str("\n[stacks of bthreads]\n");
    for runtime in bthread::runtimes() {
        let stats = runtime.stats();
        _ = writeln!(
            out,
            "runtime {}: in use {}, made {}, at most {}",
            runtime.tag(),
            stats.stacks_in_use,
            stats.stacks_created,
            stats.stacks_max
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tests::fake_server;

    #[test]
    fn the_systems_counts_are_there() {
        let text = fake_server().text("/memory");
        assert!(text.contains("\nVmRSS:") && text.contains("[stacks of bthreads]\n"), "{text}");
        let of_buffers = text.split_once("[buffers]\n").expect("a part about buffers").1;
        for cause in
            ["referenced by buffers", "kept by connections", "kept by threads", "queued to be written"]
        {
            assert!(of_buffers.contains(cause), "{cause}: {text}");
        }
        fake_server().html("/memory");
    }
}
