//! Calls of all kinds, by several clients to several servers, while everything fails that can: every call ends exactly
//! once, in time, with its own reply or an error that a fault explains; servers run it as often as its retries allow; and
//! when the faults have ended, calls succeed again.

use std::sync::Arc;
use std::time::Duration;

use bobbin::bthread;
use bobbin::bthread::sync::CountdownEvent;
use sim::{Random, World};

use crate::faults::{Faults, Kinds, Links};
use crate::ledger::Ledger;
use crate::proto::WorkServer;
use crate::site::{Site, sleep_until};
use crate::way::Way;
use crate::work_call::{PROBES_MAX, WorkCall, probe};
use crate::work_service::Work;

/// Calls of a run, at most.
const CALLS: usize = 45;

/// Faults of a run, at most.
const FAULTS: usize = 8;

/// When the last call and the last fault begin.
const SPAN: Duration = Duration::from_secs(8);

/// Calls that begin within this time of each other may wait for each other.
const CROWD: Duration = Duration::from_secs(1);

/// How long a call may last, and a server's sleeps behind it.
const LONGEST: Duration = Duration::from_secs(6);

/// A call of the plan.
#[derive(Clone, Debug)]
struct Planned {
    at: Duration,
    client: usize,
    server: usize,
    way: Way,
    call: WorkCall,
}

pub(crate) fn run(world: &World, links: &Links) {
    let mut random = Random::stream(world.seed(), "echo", 0);
    let ledger = Ledger::new(world);
    let sites = |kind: &str, count: u64| -> Vec<_> {
        (0..count).map(|n| Site::new(world, &format!("echo-{kind}{n}"))).collect()
    };
    let clients: Vec<Arc<Site>> = sites("client", random.between(1, 2));
    let servers: Vec<Arc<Site>> = sites("server", random.between(1, 2));
    let all: Vec<_> = clients.iter().chain(&servers).cloned().collect();
    crate::drift(&mut random, &all);
    for server in &servers {
        let (world, ledger) = (world.clone(), ledger.clone());
        server.play(move |site| {
            let work = Work { world: world.clone(), site: site.clone(), ledger: ledger.clone() };
            site.serve(move |builder| builder.add(WorkServer::new(work)));
        });
    }
    let ways: Vec<_> = (0..random.between(1, 3)).map(|_| Way::draw(&mut random)).collect();
    let is_calm = random.chance(0.25);
    // A burst, or calls here and there.
    let span = *random.pick(&[Duration::from_millis(20), Duration::from_millis(300), SPAN, SPAN]);
    let planned = world.plan("echo calls", CALLS, |random| {
        let way = *random.pick(&ways);
        let mut call = WorkCall::draw(random, way);
        call.closes &= !is_calm;
        Planned {
            at: Duration::from_micros(random.below(span.as_micros() as u64)),
            client: random.below(clients.len() as u64) as usize,
            server: random.below(servers.len() as u64) as usize,
            way,
            call,
        }
    });
    let faults = if is_calm { 0 } else { FAULTS };
    let faults =
        Faults::draw(world, "echo faults", faults, span.max(Duration::from_secs(2)), &all, Kinds::ALL);
    let is_calm = is_calm && faults.are_none() && !links.is_lossy;

    let start = world.now();
    let faulting = bthread::spawn(move || faults.run(start));
    make(world, links, planned, &clients, &servers, &ledger, is_calm);
    let _ = faulting.join();
    for site in &all {
        site.recover();
    }
    world.network().heal();
    world.note("the faults have ended");
    recover(world, links, &clients, &servers, &ways, &ledger);
    ledger.close(LONGEST);
    crate::leaks::check_callers(world, &clients);
    clients.iter().chain(&servers).for_each(|site| site.retire());
    ledger.audit();
}

/// Has the clients make their calls, each at its time.
fn make(
    world: &World,
    links: &Links,
    mut planned: Vec<Planned>,
    clients: &[Arc<Site>],
    servers: &[Arc<Site>],
    ledger: &Arc<Ledger>,
    is_calm: bool,
) {
    let start = world.now();
    planned.sort_by_key(|call| call.at);
    // What may be in front of a call, on one connection perhaps.
    let bytes: Vec<_> =
        planned.iter().map(|other| (other.at, other.call.size * other.call.attempts_max())).collect();
    let crowd = |at: Duration| -> usize {
        bytes.iter().filter(|(other, _)| other.abs_diff(at) < CROWD).map(|(_, bytes)| bytes).sum()
    };
    for Planned { at, client, server, way, call } in planned {
        sleep_until(world, start + at);
        let (client, address) = (clients[client].clone(), servers[server].address());
        if !client.node.is_up() {
            continue;
        }
        let crowd = crowd(at);
        let way_takes = links.round_trip(call.size, call.size) * (2 + call.fail_first);
        let has_time = call.timeout
            >= 4 * (call.needs() + way_takes) + links.round_trip(crowd, crowd) + Duration::from_secs(1);
        let must_succeed = is_calm && has_time && !way.is_tight && !call.is_to_fail && call.retries_enough();
        let ledger = ledger.clone();
        let caller = client.clone();
        let _calls = client.node.spawn(move || {
            // How it ends is accounted for.
            let _told = call.make(&caller, &address, way, &ledger, must_succeed);
        });
    }
}

/// Everybody reaches everybody again.
fn recover(
    world: &World,
    links: &Links,
    clients: &[Arc<Site>],
    servers: &[Arc<Site>],
    ways: &[Way],
    ledger: &Arc<Ledger>,
) {
    let mut tries = Vec::new();
    for client in clients {
        for server in servers {
            for way in ways {
                tries.push((client.clone(), server.address(), *way));
            }
        }
    }
    let done = Arc::new(CountdownEvent::new(tries.len() as u32));
    for (n, (client, address, way)) in tries.into_iter().enumerate() {
        let (world, links, ledger, done) = (world.clone(), links.clone(), ledger.clone(), done.clone());
        let caller = client.clone();
        let _probes = client.node.spawn(move || {
            probe(&world, &links, &caller, &address, way, &ledger, n as u64 * PROBES_MAX);
            done.signal(1);
        });
    }
    done.wait();
}
