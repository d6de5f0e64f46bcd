//! Calls that go through three servers: each of them knows of less time than the one before, and when the caller cancels
//! or is gone all of them learn of it and stop.

mod book;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bobbin::error::{EFAILEDSOCKET, ELIMIT, ERPCTIMEDOUT};
use bobbin::{CallOptions, CancelReason, CancelToken, RpcError, ServerCall, bthread};
use sim::{Random, World};

use crate::faults::{Faults, Kinds, Links};
use crate::ledger::{End, Ledger, Terms};
use crate::proto::{HopRequest, HopResponse, HopServer, HopService, HopStub};
use crate::site::{Site, lock, sleep_until};
use crate::way::Way;
use crate::work_service::sleep;
use book::Book;

/// Servers that a call goes through.
const HOPS: usize = 3;

/// Calls of a run, at most.
const CALLS: usize = 25;

/// Faults of a run, at most.
const FAULTS: usize = 4;

/// When the last call begins.
const SPAN: Duration = Duration::from_secs(4);

/// How long a call may last.
const LONGEST: Duration = Duration::from_secs(4);

/// How often the last server looks whether anybody still waits.
const LOOK: Duration = Duration::from_millis(5);

/// A call through all servers.
#[derive(Clone, Debug)]
struct Planned {
    at: Duration,
    name: u64,
    timeout: Duration,
    /// What the last server works for.
    work: Duration,
    cancel_after: Option<Duration>,
    /// What each server sleeps for before it asks to be told, and calls the next one.
    late: [Duration; HOPS],
    /// Whose first run fails with an error that is tried again, behind such a sleep.
    fails: Option<(usize, Duration)>,
}

impl Planned {
    fn draw(random: &mut Random) -> Self {
        let ms = Duration::from_millis;
        Planned {
            at: Duration::from_micros(random.below(SPAN.as_micros() as u64)),
            name: random.below(1 << 40),
            timeout: ms(*random.pick(&[10, 50, 100, 300, 1000, 3000])),
            work: ms(*random.pick(&[0, 1, 20, 100, 500, 5000])),
            cancel_after: random.chance(0.4).then(|| ms(*random.pick(&[0, 1, 2, 5, 20, 100, 400]))),
            late: std::array::from_fn(|_| ms(*random.pick(&[0, 0, 0, 1, 5, 30]))),
            fails: random
                .chance(0.3)
                .then(|| (random.below(HOPS as u64) as usize, ms(*random.pick(&[1, 20, 80, 200])))),
        }
    }
}

/// One server on the way.
struct Hop {
    world: World,
    site: Arc<Site>,
    ledger: Arc<Ledger>,
    book: Arc<Book>,
    plans: Arc<HashMap<u64, Planned>>,
    way: Way,
}

impl HopService for Hop {
    fn hop(&self, cntl: &mut ServerCall, request: HopRequest) -> Result<HopResponse, RpcError> {
        let name = request.call;
        let plan = self.plans.get(&name).ok_or_else(|| RpcError::internal("No such plan"))?;
        let hop = HOPS.saturating_sub(request.next.len() + 1);
        if hop == 0 {
            self.ledger.run(name);
        }
        let slept = hop.checked_sub(1).map_or(Duration::ZERO, |hop| plan.late[hop]);
        let run = self.book.begin((name, hop), &self.site, cntl.deadline(), slept, plan.timeout);
        sleep(&self.world, plan.late[hop]);
        let token = CancelToken::new();
        self.book.watch(run);
        let (book, canceled) = (self.book.clone(), token.clone());
        cntl.notify_on_cancel(move |reason| {
            let has_ended = reason == CancelReason::Ended;
            book.told(run, reason);
            if !has_ended {
                canceled.cancel();
            }
        })?;
        let result = match plan.fails {
            Some((fails, behind)) if fails == hop && run.2 == 0 => {
                self.work(cntl, &token, behind);
                Err(RpcError::new(ELIMIT, "asked to fail at first"))
            }
            _ => self.go_on(cntl, &token, &request, plan),
        };
        self.book.end(run, plan.late[hop] + LOOK);
        result.map(|()| HopResponse { call: name })
    }
}

impl Hop {
    fn go_on(
        &self,
        cntl: &ServerCall,
        token: &CancelToken,
        request: &HopRequest,
        plan: &Planned,
    ) -> Result<(), RpcError> {
        let Some((next, rest)) = request.next.split_first() else {
            self.work(cntl, token, plan.work);
            return Ok(());
        };
        let channel = self.site.channel(next, self.way)?;
        let request = HopRequest { call: request.call, next: rest.to_vec() };
        let options = CallOptions::default().cancel_token(token);
        HopStub::new(&channel).hop_with(options, &request).map(drop).map_err(|error| relayed(&error))
    }

    /// Works for so long, or until nobody waits any more.
    fn work(&self, cntl: &ServerCall, token: &CancelToken, time: Duration) {
        let end = bthread::clock::now() + time;
        let end = cntl.deadline().map_or(end, |deadline| end.min(deadline));
        loop {
            let left = end.saturating_duration_since(bthread::clock::now());
            if left.is_zero() || cntl.is_canceled() || token.is_canceled() {
                return;
            }
            bthread::sleep(left.min(LOOK));
        }
    }
}

/// The error of the call behind, for the caller before: not to be taken for that of the caller's own connection, or of
/// its own deadline.
fn relayed(error: &RpcError) -> RpcError {
    let code = if error.is_retriable() { EFAILEDSOCKET } else { ERPCTIMEDOUT };
    RpcError::new(code, format!("behind: {}", error.code()))
}

pub(crate) fn run(world: &World, links: &Links) {
    let mut random = Random::stream(world.seed(), "hops", 0);
    let way = *random.pick(&[Way::SINGLE, Way::POOLED, Way::POOLED, Way::SHORT]);
    let client = Site::new(world, "hop-client");
    let servers: Vec<_> = (0..HOPS).map(|n| Site::new(world, &format!("hop-server{n}"))).collect();
    let all: Vec<_> = servers.iter().chain([&client]).cloned().collect();
    crate::drift(&mut random, &all);
    let is_calm = random.chance(0.5);
    let mut planned = world.plan("hop calls", CALLS, Planned::draw);
    planned.sort_by_key(|planned| planned.at);
    let plans: HashMap<_, _> = planned.iter().map(|planned| (planned.name, planned.clone())).collect();
    let kinds = Kinds { crashes: random.chance(0.3), ..Kinds::ALL };
    let faults = if is_calm { 0 } else { FAULTS };
    let faults = Faults::draw(world, "hop faults", faults, SPAN, &all, kinds);
    let is_calm = is_calm && faults.are_none() && !links.is_lossy;
    let (ledger, book, plans) = (Ledger::new(world), Book::new(world, is_calm), Arc::new(plans));
    for server in &servers {
        let (world, ledger, book, plans) = (world.clone(), ledger.clone(), book.clone(), plans.clone());
        server.play(move |site| {
            let (world, site_) = (world.clone(), site.clone());
            let (ledger, book, plans) = (ledger.clone(), book.clone(), plans.clone());
            let hop = Hop { world, site: site_, ledger, book, plans, way };
            site.serve(move |builder| builder.add(HopServer::new(hop)));
        });
    }
    let start = world.now();
    let faulting = bthread::spawn(move || faults.run(start));
    let addresses: Vec<_> = servers.iter().map(|server| server.address()).collect();
    let canceled = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    for planned in planned {
        sleep_until(world, start + planned.at);
        if !client.node.is_up() {
            continue;
        }
        let (world, addresses, ledger) = (world.clone(), addresses.clone(), ledger.clone());
        let (caller, canceled) = (client.clone(), canceled.clone());
        let _calls =
            client.node.spawn(move || call(&world, &caller, way, &addresses, &planned, &ledger, &canceled));
    }
    let _ = faulting.join();
    all.iter().for_each(Site::recover);
    world.network().heal();
    world.note("the faults have ended");
    ledger.close(LONGEST);
    // Servers may still work for callers that have gone.
    bthread::sleep(LONGEST);
    all.iter().rev().for_each(|site| site.retire());
    ledger.audit();
    let is_told_soon = is_calm && way.is_exclusive();
    book.audit(&lock(&canceled), is_told_soon.then_some(links.latency_max));
}

/// One call, on the client's node.
fn call(
    world: &World,
    caller: &Arc<Site>,
    way: Way,
    addresses: &[String],
    planned: &Planned,
    ledger: &Arc<Ledger>,
    canceled: &Arc<std::sync::Mutex<BTreeMap<u64, Duration>>>,
) {
    const RETRIES: u32 = 3;
    let name = planned.name;
    let Ok(channel) = caller.channel(&addresses[0], way) else { return };
    let request = HopRequest { call: name, next: addresses[1..].to_vec() };
    ledger.begin(
        caller,
        Terms {
            name,
            size: 0,
            timeout: planned.timeout,
            max_retry: RETRIES,
            never_twice: false,
            may_back_up: false,
            is_to_fail: false,
            fail_first: 1,
            must_succeed: false,
            is_http: false,
        },
    );
    let options = CallOptions::default().timeout(planned.timeout).max_retry(RETRIES);
    let call = HopStub::new(&channel).start_hop_with(options, &request);
    if let Some(after) = planned.cancel_after {
        let (world, ledger, canceled, handle) =
            (world.clone(), ledger.clone(), canceled.clone(), call.handle());
        let _cancels = bthread::spawn(move || {
            bthread::sleep(after);
            if handle.is_running() {
                lock(&canceled).insert(name, world.now());
                ledger.cancel(name);
                handle.cancel();
            }
        });
    }
    let result = call.join_reply();
    let is_own = |reply: &bobbin::Reply<HopResponse>| match reply.message.call {
        call if call == name => Ok(()),
        call => Err(format!("it is the reply of call {call:x}")),
    };
    ledger.end(name, End::new(result, is_own));
}
