//! One fault after another, for a time.

use std::fs::File;
use std::time::{Duration, Instant};

use bobbin_tests::{Direction, Fault, FaultProxy};

use crate::servers::{ChildServer, OwnServer};

/// How long each lasts.
const LASTS: Duration = Duration::from_millis(150);

/// How long all is well between two.
const PAUSE: Duration = Duration::from_millis(100);

/// What can be done with the proxy alone. Whatever is swallowed cuts messages off, so that connections end with it.
const OF_PROXY: &[(Option<Direction>, Fault)] = &[
    (Some(Direction::ToClient), Fault::Paused),
    (Some(Direction::ToServer), Fault::Paused),
    (None, Fault::Paused),
    (Some(Direction::ToServer), Fault::Swallowed),
    (None, Fault::Swallowed),
    (Some(Direction::ToClient), Fault::Delayed(Duration::from_millis(3))),
    (None, Fault::OneByOne),
];

fn of_proxy(proxy: &FaultProxy, direction: Option<Direction>, fault: Fault) {
    match direction {
        Some(direction) => proxy.set(direction, fault),
        None => proxy.set_both(fault),
    }
    std::thread::sleep(LASTS);
    proxy.set_both(Fault::None);
    if fault == Fault::Swallowed {
        proxy.reset_all();
    }
}

/// Takes all descriptors of the process for a while.
fn exhaust() {
    let taken: Vec<_> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    std::thread::sleep(LASTS);
    drop(taken);
}

/// Makes faults until the time is over; all is well then.
pub(crate) fn make(time: Duration, proxy: &FaultProxy, own: &OwnServer, child: &ChildServer) {
    let start = Instant::now();
    for round in 0.. {
        let kinds = OF_PROXY.len() + 5;
        match round % kinds {
            n if n < OF_PROXY.len() => of_proxy(proxy, OF_PROXY[n].0, OF_PROXY[n].1),
            n if n == kinds - 5 => proxy.reset_all(),
            n if n == kinds - 4 => proxy.close_all(),
            n if n == kinds - 3 => own.restart(),
            n if n == kinds - 2 => child.restart(),
            _ => exhaust(),
        }
        if start.elapsed() >= time {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}
