//! What a process holds: to be the same before and after.

use std::time::{Duration, Instant};

use bobbin::{bvar, iobuf};

/// Blocks that caches of threads may keep beyond those before: threads that had none may have some.
const BLOCKS_MORE: usize = 2048;

/// How often it is looked whether things have settled.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    descriptors: usize,
    bthreads: usize,
    sockets: usize,
    referenced_bytes: usize,
    blocks: usize,
}

fn variable(name: &str) -> usize {
    let text = bvar::describe(name).unwrap_or_else(|| panic!("there is no variable {name}"));
    text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}"))
}

impl Left {
    fn now() -> Self {
        let stats = iobuf::stats();
        Left {
            // The one that lists them is not counted.
            descriptors: std::fs::read_dir("/proc/self/fd").expect("Linux").count() - 1,
            bthreads: variable("bthread_count"),
            sockets: variable("rpc_socket_count"),
            referenced_bytes: stats.referenced_bytes,
            blocks: stats.block_count,
        }
    }

    /// What is left as soon as it is no more than `wanted`, or, without that, does not change for a second.
    pub(crate) fn settled(wanted: Option<&Left>, patience: Duration) -> Self {
        let (start, mut left, mut since) = (Instant::now(), Left::now(), Instant::now());
        loop {
            std::thread::sleep(LOOK);
            let now = Left::now();
            if now != left {
                (left, since) = (now, Instant::now());
            }
            let is_settled = match wanted {
                Some(wanted) => left.is_within(wanted),
                None => since.elapsed() > Duration::from_secs(1) && left.sockets == 0,
            };
            if is_settled || start.elapsed() > patience {
                return left;
            }
        }
    }

    /// Whether this is no more than that, but for what caches keep.
    pub(crate) fn is_within(&self, before: &Left) -> bool {
        self.descriptors <= before.descriptors
            && self.bthreads <= before.bthreads
            && self.sockets <= before.sockets
            && self.referenced_bytes <= before.referenced_bytes
            && self.blocks <= before.blocks + BLOCKS_MORE
    }
}
