//! Servers that stop gracefully and start again while clients call: a call that a server has begun is answered, and who
//! is refused finds another server.

use std::sync::Arc;
use std::time::Duration;

use bobbin::bthread;
use bobbin::error;
use sim::{Random, World};

use crate::bounds::LINGER;
use crate::faults::{Faults, Kinds, Links};
use crate::ledger::Ledger;
use crate::proto::WorkServer;
use crate::site::{Site, sleep_until};
use crate::way::Way;
use crate::work_call::{NAMES, WorkCall};
use crate::work_service::Work;

/// Calls of a run, at most.
const CALLS: usize = 60;

/// When the last call begins.
const SPAN: Duration = Duration::from_secs(4);

/// Stops of a run, at most.
const STOPS: usize = 6;

/// How long a call may take: longer than anything here.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How often a client looks for a server, with a pause in between, before that is wrong: longer than a server is away,
/// and than it takes to look for it again.
const TRIES: u64 = 400;

/// What a connection ends with for who was paused, or slow, for so long that the server did not wait for him.
const CUT_OFF: &[bobbin::ErrorCode] = &[error::ECONNRESET, error::EPIPE];

/// The pause.
const PAUSE: Duration = Duration::from_millis(20);

#[derive(Clone, Debug)]
struct Planned {
    at: Duration,
    first: usize,
    size: usize,
    sleep: Duration,
    form: crate::work_call::Form,
    /// The links lose packets.
    is_lossy: bool,
}

/// A stop of a server.
#[derive(Clone, Copy, Debug)]
struct Stop {
    at: Duration,
    server: usize,
    away: Duration,
}

pub(crate) fn run(world: &World, links: &Links) {
    let mut random = Random::stream(world.seed(), "stopping", 0);
    let ledger = Ledger::new(world);
    let servers: Vec<_> =
        (0..random.between(2, 3)).map(|n| Site::new(world, &format!("stop-server{n}"))).collect();
    let client = Site::new(world, "stop-client");
    let all: Vec<_> = servers.iter().chain([&client]).cloned().collect();
    crate::drift(&mut random, &all);
    for server in &servers {
        start(world, server, &ledger);
    }
    let way = Way::draw(&mut random);
    let ms = Duration::from_millis;
    let span = *random.pick(&[ms(100), SPAN]);
    let mut planned: Vec<(u64, Planned)> = world.plan("stopping calls", CALLS, |random| {
        // So that no name is used up by tries, and hardly any is drawn twice.
        let name = random.below(NAMES / (TRIES + 1)) * (TRIES + 1);
        let planned = Planned {
            at: Duration::from_micros(random.below(span.as_micros() as u64)),
            first: random.below(servers.len() as u64) as usize,
            size: *random.pick(&[0, 10, 1000, 30_000]),
            sleep: ms(*random.pick(&[0, 0, 1, 5, 20, 100])),
            form: WorkCall::draw(random, way).form,
            is_lossy: links.is_lossy,
        };
        (name, planned)
    });
    planned.sort_by_key(|(_, planned)| planned.at);
    let mut stops = world.plan("stops", STOPS, |random| Stop {
        at: Duration::from_micros(random.below(span.as_micros() as u64 + 1)),
        server: random.below(servers.len() as u64) as usize,
        away: ms(*random.pick(&[0, 1, 50, 300])),
    });
    stops.sort_by_key(|stop| stop.at);
    let faults = Faults::draw(world, "stopping faults", 2, span, &all, Kinds::NODES);

    let begin = world.now();
    let faulting = bthread::spawn(move || faults.run(begin));
    let (world_, servers_, ledger_) = (world.clone(), servers.clone(), ledger.clone());
    let stopping = bthread::spawn(move || {
        for stop in stops {
            sleep_until(&world_, begin + stop.at);
            let server = &servers_[stop.server];
            server.stop_serving();
            bthread::sleep(stop.away);
            start(&world_, server, &ledger_);
        }
    });
    let addresses: Vec<_> = servers.iter().map(|server| server.address()).collect();
    let mut calls = Vec::new();
    for (name, planned) in planned {
        sleep_until(world, begin + planned.at);
        let (world, caller, ledger) = (world.clone(), client.clone(), ledger.clone());
        let mut addresses = addresses.clone();
        addresses.rotate_left(planned.first);
        calls
            .push(client.node.spawn(move || call(&world, &caller, way, &addresses, name, &planned, &ledger)));
    }
    let _ = faulting.join();
    let _ = stopping.join();
    all.iter().for_each(Site::recover);
    for call in calls {
        let _ = call.join();
    }
    ledger.close(TIMEOUT);
    client.retire();
    servers.iter().for_each(|site| site.retire());
    ledger.audit();
}

fn start(world: &World, site: &Arc<Site>, ledger: &Arc<Ledger>) {
    let work = Work { world: world.clone(), site: site.clone(), ledger: ledger.clone() };
    site.serve(move |builder| builder.add(WorkServer::new(work)));
}

/// Calls one server after the other until one has answered.
fn call(
    world: &World,
    caller: &Arc<Site>,
    way: Way,
    addresses: &[String],
    name: u64,
    planned: &Planned,
    ledger: &Arc<Ledger>,
) {
    for number in 0..TRIES {
        let address = &addresses[number as usize % addresses.len()];
        let mut call = WorkCall::plain(name + number, TIMEOUT);
        (call.size, call.sleep) = (planned.size, planned.sleep);
        // A callback's end is told elsewhere.
        call.form = match planned.form {
            crate::work_call::Form::Callback => crate::work_call::Form::Join,
            form => form,
        };
        let began = world.now();
        let Err(error) = call.make(caller, address, way, ledger, false) else { return };
        let was_too_late = CUT_OFF.contains(&error.code()) && caller.ill_for(began, world.now()) >= LINGER;
        if ledger.runs(call.name) > 0 && !was_too_late {
            world.violation(format_args!(
                "call {:x} was begun by the server {address}, which stopped, and failed: {error}",
                call.name
            ));
        }
        let is_refusal =
            REFUSALS.contains(&error.code()) || (!way.has_attachments() && error.code() == error::EHTTP);
        // The reset that tells a connection's end to who has not been accepted is sent once: where it is lost, nobody
        // knows of it until he writes again.
        let is_untold =
            planned.is_lossy && error.code() == error::ERPCTIMEDOUT && ledger.runs(call.name) == 0;
        if !is_refusal && !is_untold && !was_too_late {
            world.violation(format_args!("call {:x} of {address}, which stops, failed: {error}", call.name));
            return;
        }
        bthread::sleep(PAUSE);
    }
    world.violation(format_args!("call {name:x} found no server in {TRIES} tries"));
}

/// What a server that stops, or has stopped, may do to a call that it has not begun.
const REFUSALS: &[bobbin::ErrorCode] = &[
    error::ELOGOFF,
    error::ECONNREFUSED,
    error::EHOSTDOWN,
    error::EEOF,
    error::ECONNRESET,
    error::EPIPE,
    error::EFAILEDSOCKET,
    error::EOVERCROWDED, // the client's own refusal
    error::ETIMEDOUT,    // it, or its caller, stood still
    error::ENETUNREACH,  // the same, several times
];
