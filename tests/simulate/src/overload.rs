//! More calls than a server's limits admit: those beyond are told so, never more than the limit run, and when the rush
//! is over all calls are admitted again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bobbin::bthread;
use bobbin::error::{ELIMIT, ERPCTIMEDOUT};
use bobbin::{RpcError, ServerCall};
use sim::{Random, World};

use crate::faults::{Faults, Kinds, Links};
use crate::ledger::Ledger;
use crate::proto::{WorkRequest, WorkResponse, WorkServer, WorkService};
use crate::site::{Site, sleep_until};
use crate::way::Way;
use crate::work_call::WorkCall;
use crate::work_service::Work;

/// Calls of a run, at most.
const CALLS: usize = 90;

/// When the last call begins.
const SPAN: Duration = Duration::from_millis(500);

/// Calls behind the rush, one after another.
const AFTERWARDS: u64 = 5;

/// What the server admits.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Method(usize),
    Server(usize),
    Auto,
}

/// Counts those who run beside each other.
struct Counting {
    work: Work,
    running: AtomicUsize,
    limit: Limit,
}

impl WorkService for Counting {
    fn work(&self, cntl: &mut ServerCall, request: WorkRequest) -> Result<WorkResponse, RpcError> {
        // Relaxed: one thread.
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        if let Limit::Method(most) | Limit::Server(most) = self.limit
            && running > most
        {
            self.work.world.violation(format_args!("{running} calls run at a time, expected at most {most}"));
        }
        let result = self.work.work(cntl, request);
        self.running.fetch_sub(1, Ordering::Relaxed);
        result
    }
}

pub(crate) fn run(world: &World, links: &Links) {
    let mut random = Random::stream(world.seed(), "overload", 0);
    let ledger = Ledger::new(world);
    let server = Site::new(world, "load-server");
    let clients: Vec<_> =
        (0..random.between(1, 3)).map(|n| Site::new(world, &format!("load-client{n}"))).collect();
    let all: Vec<_> = clients.iter().chain([&server]).cloned().collect();
    crate::drift(&mut random, &all);
    let most = random.between(1, 8) as usize;
    let limit = *random.pick(&[Limit::Method(most), Limit::Server(most), Limit::Auto]);
    let (world_, ledger_) = (world.clone(), ledger.clone());
    server.play(move |site| {
        let work = Work { world: world_.clone(), site: site.clone(), ledger: ledger_.clone() };
        let counting = Counting { work, running: AtomicUsize::new(0), limit };
        site.serve(move |builder| {
            let builder = builder.add(WorkServer::new(counting));
            match limit {
                Limit::Method(most) => builder.method_max_concurrency(most),
                Limit::Server(most) => builder.max_concurrency(most),
                Limit::Auto => builder.method_max_concurrency("auto"),
            }
        });
    });
    let way = Way::draw(&mut random);
    let mut planned = world.plan("load calls", CALLS, |random| {
        let mut call = WorkCall::draw(random, way);
        call.size = call.size.min(1000);
        call.sleep = Duration::from_millis(random.between(0, 30));
        call.fail_first = 0;
        call.closes = false;
        let at = Duration::from_micros(random.below(SPAN.as_micros() as u64));
        (at, random.below(clients.len() as u64) as usize, call)
    });
    planned.sort_by_key(|(at, ..)| *at);
    let faults = Faults::draw(world, "load faults", 2, SPAN, &all, Kinds { crashes: false, ..Kinds::ALL });

    let start = world.now();
    let faulting = bthread::spawn(move || faults.run(start));
    for (at, client, call) in planned {
        sleep_until(world, start + at);
        let (caller, address, ledger) = (clients[client].clone(), server.address(), ledger.clone());
        let site = caller.clone();
        let _calls = caller.node.spawn(move || {
            // How it ends is accounted for.
            let _told = call.make(&site, &address, way, &ledger, false);
        });
    }
    let _ = faulting.join();
    all.iter().for_each(Site::recover);
    world.network().heal();
    world.note("the rush is over");
    // Until the last run has ended, and lost bytes have come.
    bthread::sleep(crate::bounds::RECOVERY);
    afterwards(world, links, &clients[0], &server, way, &ledger);
    ledger.close(Duration::from_secs(6));
    crate::leaks::check_callers(world, &clients);
    clients.iter().chain([&server]).for_each(|site| site.retire());
    ledger.audit();
}

/// Calls one after another are all admitted.
fn afterwards(
    world: &World,
    links: &Links,
    caller: &Arc<Site>,
    server: &Arc<Site>,
    way: Way,
    ledger: &Arc<Ledger>,
) {
    let (world, caller_, address) = (world.clone(), caller.clone(), server.address());
    let (ledger, is_lossy) = (ledger.clone(), links.is_lossy);
    let calls = caller.node.spawn(move || {
        // A connection that a fault has ended is noticed by the first.
        for number in 0..=AFTERWARDS {
            let call = WorkCall::plain(WorkCall::checkers_name(number), Duration::from_secs(5));
            let Err(error) = call.make(&caller_, &address, way, &ledger, false) else { continue };
            let is_limited = error.code() == ELIMIT || error.text().contains("concurrency");
            let is_slow = error.code() == ERPCTIMEDOUT && !is_lossy;
            if is_limited || (is_slow && number > 0) {
                world.violation(format_args!("call {number} behind the rush failed: {error}"));
            }
            bthread::sleep(Duration::from_millis(100));
        }
    });
    let _ = calls.join();
}
