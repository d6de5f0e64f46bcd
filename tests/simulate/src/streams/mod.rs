//! Streams in both directions, several of a call, with windows of all sizes, slow readers, closes and resets: messages
//! come in order and once, none is lost before a close and none comes behind it, the window bounds what is on its way, and
//! under faults a prefix comes of what was written. Some streams are closed before the call is answered that offers them.

mod end;
mod flow;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bobbin::{CallOptions, RpcError, ServerCall, bthread};
use sim::{Random, World};

use crate::faults::{Faults, Kinds, Links};
use crate::proto::{OpenRequest, OpenResponse, OpenServer, OpenService, OpenStub};
use crate::site::{Site, lock, sleep_until};
use crate::way::Way;
use end::{Ending, Ends, Flows, Part};
use flow::Flow;

/// Calls with streams in a run, at most.
const CALLS: usize = 6;

/// Faults of a run, at most.
const FAULTS: usize = 5;

/// When the last call begins.
const SPAN: Duration = Duration::from_secs(3);

/// How long streams may last.
const LONGEST: Duration = Duration::from_secs(20);

/// How long the call may take that opens streams.
const OPENING: Duration = Duration::from_secs(2);

/// A call with streams.
#[derive(Clone, Debug)]
struct Planned {
    at: Duration,
    name: u64,
    client: usize,
    streams: usize,
    caller: Part,
    server: Part,
    up: Vec<usize>,
    down: Vec<usize>,
    /// The client writes before the call is made.
    is_early: bool,
}

impl Planned {
    fn draw(random: &mut Random, clients: u64) -> Self {
        let sizes = |random: &mut Random| -> Vec<usize> {
            let any: &[usize] = match random.below(4) {
                0 => &[0, 1, 8],
                1 | 2 => &[10, 100, 1000],
                _ => &[100, 5000, 70_000],
            };
            (0..random.between(1, 4)).map(|_| *random.pick(any)).collect()
        };
        let part = |random: &mut Random| Part {
            writes: *random.pick(&[0, 1, 5, 20, 60]),
            expects: 0,
            window: *random.pick(&[0, 1, 100, 2000, 20_000, 2 << 20]),
            segment: *random.pick(&[None, None, Some(1), Some(777), Some(4096)]),
            has_handler: random.chance(0.5),
            batch: *random.pick(&[1, 3, 128]),
            read_delay: Duration::from_millis(*random.pick(&[0, 0, 0, 1, 10])),
            idle_timeout: *random.pick(&[
                None,
                Some(Duration::from_millis(10)),
                Some(Duration::from_millis(300)),
            ]),
            tries: random.chance(0.3),
            ending: Ending::Waits,
            closes_early: false,
        };
        let (mut caller, mut server) = (part(random), part(random));
        // A byte in each frame is slow enough for the smallest of messages.
        let (up, down) = (sizes(random), sizes(random));
        for (part, sizes) in [(&mut caller, &up), (&mut server, &down)] {
            if sizes.iter().any(|size| *size > 1000) && part.segment.is_some_and(|size| size < 1000) {
                part.segment = None;
            }
        }
        (caller.expects, server.expects) = (server.writes, caller.writes);
        let ending = *random.pick(&[Ending::Closes, Ending::Closes, Ending::ClosesLast, Ending::Resets]);
        if random.chance(0.6) {
            caller.ending = ending;
        } else {
            server.ending = ending;
        }
        let mut planned = Planned {
            at: Duration::from_micros(random.below(SPAN.as_micros() as u64)),
            name: random.below(1 << 40),
            client: random.below(clients) as usize,
            streams: *random.pick(&[1, 1, 1, 2, 3]),
            caller,
            server,
            up,
            down,
            is_early: random.chance(0.3),
        };
        planned.caller.closes_early = random.chance(0.7) && planned.caller.ending == Ending::Closes;
        planned
    }
}

/// The two sides of a call's streams.
struct Sides {
    planned: Planned,
    caller: Arc<Ends>,
    server: Arc<Ends>,
    flows: Vec<Flows>,
    /// Whether the call has succeeded.
    is_open: Mutex<Option<bool>>,
    /// The server has accepted the streams.
    is_accepted: Mutex<bool>,
}

impl Sides {
    fn new(world: &World, planned: Planned) -> Self {
        let flow = |way: &str, n: usize, sizes: &[usize], window: usize| {
            let label = format!("stream {n} of {:x} {way}", planned.name);
            let name = planned.name.wrapping_mul(31).wrapping_add(n as u64 * 2 + u64::from(way == "up"));
            Flow::new(world, name, label, sizes.to_vec(), window)
        };
        let flows: Vec<_> = (0..planned.streams)
            .map(|n| Flows {
                outgoing: flow("up", n, &planned.up, planned.caller.window),
                incoming: flow("down", n, &planned.down, planned.server.window),
            })
            .collect();
        let turned = flows
            .iter()
            .map(|flows| Flows { incoming: flows.outgoing.clone(), outgoing: flows.incoming.clone() })
            .collect();
        Sides {
            caller: Ends::new(planned.caller.clone(), flows.clone()),
            server: Ends::new(planned.server.clone(), turned),
            flows,
            planned,
            is_open: Mutex::default(),
            is_accepted: Mutex::default(),
        }
    }

    /// Opens the streams, on the caller's node.
    fn open(&self, caller: &Site, address: &str, is_calm: bool, world: &World) -> Result<(), RpcError> {
        let channel = caller.channel(address, Way::SINGLE)?;
        // It may wait for all that is written to the streams that were opened before: they share the connection.
        let options = CallOptions::default().timeout(if is_calm { LONGEST } else { OPENING });
        let (options, streams) = options.open_streams(self.planned.streams, self.caller.options())?;
        self.caller.meet(&streams);
        let deadline = bthread::clock::now() + LONGEST;
        let request = OpenRequest { call: self.planned.name };
        let stub = OpenStub::new(&channel);
        let result = if self.planned.is_early {
            self.caller.begin(streams, deadline);
            stub.open_with(options, &request)
        } else {
            let result = stub.open_with(options, &request);
            // Also if it has failed: they are told then.
            self.caller.begin(streams, deadline);
            result
        };
        self.caller.answered();
        *lock(&self.is_open) = Some(result.is_ok());
        world.note(format_args!(
            "the streams of {:x} are open: {:?}",
            self.planned.name,
            result.as_ref().err()
        ));
        if let (Err(error), true) = (&result, is_calm) {
            let name = self.planned.name;
            world.violation(format_args!(
                "the streams of {name:x} were not opened though all is well: {error}"
            ));
        }
        result.map(drop)
    }

    /// When the run is over.
    fn audit(&self, is_calm: bool) {
        let is_open = *lock(&self.is_open) == Some(true);
        for flows in &self.flows {
            if is_open {
                flows.incoming.must_have_ended();
            }
            if *lock(&self.is_accepted) {
                flows.outgoing.must_have_ended();
            }
            if !is_open || !is_calm {
                continue;
            }
            let (caller, server) = (&self.planned.caller, &self.planned.server);
            if matches!(caller.ending, Ending::Closes | Ending::ClosesLast)
                || server.ending == Ending::ClosesLast
            {
                flows.outgoing.must_be_whole(caller.writes);
            }
            if matches!(server.ending, Ending::Closes | Ending::ClosesLast)
                || caller.ending == Ending::ClosesLast
            {
                flows.incoming.must_be_whole(server.writes);
            }
        }
    }
}

/// Accepts the streams of calls that it knows.
struct Opening(Arc<HashMap<u64, Sides>>);

impl OpenService for Opening {
    fn open(&self, cntl: &mut ServerCall, request: OpenRequest) -> Result<OpenResponse, RpcError> {
        let sides = self.0.get(&request.call).ok_or_else(|| RpcError::internal("No such plan"))?;
        let streams = cntl.accept_streams(sides.server.options())?;
        *lock(&sides.is_accepted) = true;
        sides.server.meet(&streams);
        sides.server.answered();
        sides.server.begin(streams, bthread::clock::now() + LONGEST);
        Ok(OpenResponse { call: request.call })
    }
}

pub(crate) fn run(world: &World, links: &Links) {
    let mut random = Random::stream(world.seed(), "streams", 0);
    let clients: Vec<_> =
        (0..random.between(1, 2)).map(|n| Site::new(world, &format!("stream-client{n}"))).collect();
    let server = Site::new(world, "stream-server");
    let all: Vec<_> = clients.iter().chain([&server]).cloned().collect();
    crate::drift(&mut random, &all);
    let is_calm = random.chance(0.4);
    let mut planned = world.plan("streams", CALLS, |random| Planned::draw(random, clients.len() as u64));
    planned.sort_by_key(|planned| planned.at);
    let order: Vec<_> = planned.iter().map(|planned| planned.name).collect();
    let sides = planned.into_iter().map(|planned| (planned.name, Sides::new(world, planned)));
    let sides: Arc<HashMap<_, _>> = Arc::new(sides.collect());
    let served = sides.clone();
    server.play(move |site| {
        let opening = Opening(served.clone());
        site.serve(move |builder| builder.add(OpenServer::new(opening)));
    });
    let kinds = Kinds { crashes: random.chance(0.3), ..Kinds::ALL };
    let faults = if is_calm { 0 } else { FAULTS };
    let faults = Faults::draw(world, "stream faults", faults, SPAN, &all, kinds);
    let is_calm = is_calm && faults.are_none() && !links.is_lossy;

    let start = world.now();
    let faulting = bthread::spawn(move || faults.run(start));
    for name in &order {
        let sides = sides.clone();
        let planned = &sides[name].planned;
        sleep_until(world, start + planned.at);
        let caller = clients[planned.client].clone();
        if !caller.node.is_up() {
            continue;
        }
        let (world, address, site, name) = (world.clone(), server.address(), caller.clone(), *name);
        let _opens = caller.node.spawn(move || {
            // How it ends is accounted for.
            let _told = sides[&name].open(&site, &address, is_calm, &world);
        });
    }
    let _ = faulting.join();
    all.iter().for_each(Site::recover);
    world.network().heal();
    world.note("the faults have ended");
    sleep_until(world, world.now() + LONGEST + 2 * OPENING);
    all.iter().for_each(|site| site.retire());
    // What is told of the end of the connections.
    bthread::sleep(Duration::from_secs(1));
    if !all.iter().any(|site| site.has_crashed()) {
        order.iter().for_each(|name| sides[name].audit(is_calm));
    }
}
