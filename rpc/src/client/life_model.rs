//! Tries [`Life`] in all orders of what callers, the network, timers and the last channel do, to a depth. The world here
//! does what [`Entry`](super::entry::Entry) does, one step for each time that its lock is taken.

use std::collections::{BTreeMap, HashSet};

use super::life::{End, Generation, Life, Phase, Sharing, Wanted};

/// Steps from the beginning that are tried.
const DEPTH: usize = 10;
/// Calls that are made.
const CALLS: u32 = 4;

/// A connection as the network sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Socket {
    /// Under way.
    Connecting,
    /// It stands; the entry has (not) heard of it.
    Connected { told: bool },
    /// It has failed; the entry has not heard of it. `after`: it had stood, and who saw that has told nobody yet.
    Failed { how: Way, late: bool },
    /// Over. `late`: as above.
    Gone { late: bool },
}

/// [`End`], with an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Way {
    Lost,
    Unreachable,
    TimedOut,
    GivenUp,
}

impl Way {
    fn end(self) -> End {
        match self {
            Way::Lost => End::Lost,
            Way::Unreachable => End::Unreachable,
            Way::TimedOut => End::TimedOut,
            Way::GivenUp => End::GivenUp,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    life: Life,
    sharing: Sharing,
    sockets: BTreeMap<Generation, Socket>,
    /// The slot of the entry.
    slot: Option<Generation>,
    /// Checks that are to come due.
    timers: Vec<u64>,
    calls: u32,
}

impl World {
    fn new(sharing: Sharing) -> Self {
        World {
            life: Life::new(sharing),
            sharing,
            sockets: BTreeMap::new(),
            slot: None,
            timers: Vec::new(),
            calls: CALLS,
        }
    }

    fn ended(&mut self, which: Generation, how: End) {
        let before = self.life.clone();
        let was_current = self.life.current() == Some(which);
        let check = self.life.ended(which, how);
        if self.sharing == Sharing::Shared && !was_current {
            assert_eq!((&self.life, check), (&before, None), "an old connection changes nothing");
        }
        self.timers.extend(check.map(|check| check.token));
        self.slot = self.slot.filter(|slot| self.life.current() == Some(*slot));
    }

    fn make(&mut self, which: Generation) {
        let earlier = self.sockets.insert(which, Socket::Connecting);
        assert_eq!(earlier, None, "a number is given once");
        if self.sharing == Sharing::Shared {
            self.slot = Some(which);
        }
    }

    /// A call needs a connection.
    fn call(&mut self, pauses: bool) {
        self.calls -= 1;
        // Known to have failed, though the entry has not been told.
        if let Some(Socket::Failed { how, .. }) = self.slot.and_then(|slot| self.sockets.get(&slot)).copied()
        {
            let slot = self.slot.expect("just looked at");
            self.ended(slot, how.end());
        }
        match self.life.want(pauses) {
            Wanted::Join => {
                let socket = self.sockets[&self.slot.expect("there is one to join")];
                assert!(
                    matches!(socket, Socket::Connecting | Socket::Connected { .. }),
                    "nobody gets a connection that is known to be dead: {self:?}"
                );
            }
            Wanted::Connect(which) => self.make(which),
            Wanted::Refused => {}
        }
    }

    /// All worlds that one step leads to.
    fn steps(&self) -> Vec<World> {
        let mut next = Vec::new();
        let mut add = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            world.check();
            next.push(world);
        };
        if self.life.phase() != Phase::Closed {
            if self.calls > 0 {
                add(&|world| world.call(false));
                add(&|world| world.call(true));
            }
            add(&|world| world.close());
        }
        for token in self.timers.clone() {
            add(&|world| {
                world.timers.retain(|timer| *timer != token);
                if let Some(which) = world.life.due(token) {
                    world.make(which);
                }
            });
        }
        for (&which, &socket) in &self.sockets {
            let set = |world: &mut World, socket| {
                world.sockets.insert(which, socket);
            };
            match socket {
                Socket::Connecting => {
                    add(&|world| set(world, Socket::Connected { told: false }));
                    for how in [Way::Unreachable, Way::TimedOut, Way::GivenUp] {
                        add(&|world| set(world, Socket::Failed { how, late: false }));
                    }
                }
                Socket::Connected { told } => {
                    if !told {
                        add(&|world| {
                            world.life.connected(which);
                            set(world, Socket::Connected { told: true });
                        });
                    } else if self.sharing == Sharing::Shared {
                        add(&|world| {
                            if world.life.drained(which) {
                                world.slot = None;
                            }
                        });
                    }
                    add(&|world| set(world, Socket::Failed { how: Way::Lost, late: !told }));
                }
                Socket::Failed { how, late } => add(&|world| {
                    world.ended(which, how.end());
                    set(world, Socket::Gone { late });
                }),
                Socket::Gone { late: true } => add(&|world| {
                    let before = world.life.clone();
                    world.life.connected(which);
                    if world.sharing == Sharing::Shared {
                        assert_eq!(world.life, before, "what no longer stands is not used");
                    }
                    set(world, Socket::Gone { late: false });
                }),
                Socket::Gone { late: false } => {}
            }
        }
        next
    }

    fn close(&mut self) {
        self.life.close();
        if let Some(slot) = self.slot.take() {
            // The entry makes it fail.
            self.sockets.insert(slot, Socket::Failed { how: Way::GivenUp, late: false });
        }
    }

    fn is_under_way(&self, which: Generation) -> bool {
        !matches!(self.sockets.get(&which), None | Some(Socket::Gone { .. }))
    }

    /// What must hold at all times.
    fn check(&self) {
        match self.life.phase() {
            Phase::Connecting(which) | Phase::Up(which) | Phase::Checking(Some(which)) => {
                // What is waited for either stands, or is made, or its end is about to be told.
                assert!(self.is_under_way(which), "nobody performs what is waited for: {self:?}");
            }
            Phase::Checking(None) => {
                assert!(!self.timers.is_empty(), "nobody will look for the server: {self:?}");
                let mut copy = self.clone();
                let is_live = self.timers.iter().any(|timer| copy.life.due(*timer).is_some());
                assert!(is_live, "all checks are void: {self:?}");
            }
            Phase::Idle | Phase::Closed => {}
        }
        if self.sharing == Sharing::Shared {
            assert_eq!(self.slot, self.life.current(), "the slot is the machine's: {self:?}");
            let connecting = self.sockets.values().filter(|socket| **socket == Socket::Connecting).count();
            assert!(connecting <= 1, "one connect at a time: {self:?}");
            if self.life.phase() == Phase::Closed {
                assert_eq!(connecting, 0, "nobody connects for nobody: {self:?}");
            }
        }
    }
}

fn explore(sharing: Sharing) -> usize {
    let mut layer = HashSet::from([World::new(sharing)]);
    let mut seen = layer.clone();
    for _ in 0..DEPTH {
        let steps = layer.iter().flat_map(World::steps);
        layer = steps.filter(|world| seen.insert(world.clone())).collect();
    }
    seen.len()
}

#[test]
fn all_orders_of_events_on_a_shared_connection() {
    assert!(explore(Sharing::Shared) > 1000, "the model has gone nowhere");
}

#[test]
fn all_orders_of_events_on_exclusive_connections() {
    assert!(explore(Sharing::Exclusive) > 1000, "the model has gone nowhere");
}

#[test]
fn a_server_that_is_away_is_tried_by_one_and_refused_to_the_others() {
    for sharing in [Sharing::Shared, Sharing::Exclusive] {
        let mut life = Life::new(sharing);
        let Wanted::Connect(first) = life.want(false) else { panic!("nothing is known against it") };
        let check = life.ended(first, End::Unreachable).unwrap();
        assert_eq!(check.failures, 1);
        assert_eq!(life.want(true), Wanted::Refused, "it was just tried");
        let Wanted::Connect(second) = life.want(false) else { panic!("nobody tries") };
        assert_eq!(life.want(false), Wanted::Refused, "one tries");
        assert_eq!(life.due(check.token), None, "one tries");
        let check = life.ended(second, End::GivenUp).unwrap();
        assert_eq!(check.failures, 2);
        let third = life.due(check.token).unwrap();
        life.connected(third);
        assert_ne!(life.want(true), Wanted::Refused, "it is back");
    }
}

#[test]
fn connecting_may_take_too_long_a_few_times() {
    let mut life = Life::new(Sharing::Shared);
    for time in 1..=3 {
        let Wanted::Connect(which) = life.want(true) else { panic!("refused after {time}") };
        let is_unreachable = life.timed_out(3);
        assert_eq!(is_unreachable, time == 3);
        life.ended(which, if is_unreachable { End::Unreachable } else { End::TimedOut });
    }
    assert_eq!(life.want(true), Wanted::Refused);
}
