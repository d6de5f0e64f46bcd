//! Tries the hand-overs of the sender's role in all orders: writers, connecting, the kernel that fills and empties, the
//! socket's failure and its closing behind the last byte. The world is an abstract copy of `write`, one step for each
//! access to shared memory; it asks that there is one sender at a time and that in the end nothing is forgotten.

use std::collections::HashSet;

/// What the kernel takes before it is full.
const KERNEL_ROOM: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    Taken,
    Deferred,
    Connecting,
}

/// Where somebody stands, who is none of the senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Not begun.
    Start,
    /// A writer that has looked whether the socket has failed.
    Checked,
    /// A writer that has counted its bytes.
    Counted,
    /// A writer that is the sender, and has not said where it leaves the role.
    First,
    /// It has left it, and has not asked for it to be run.
    Left,
    /// One that closes and has set the flag; one that fails the socket and has said so; one that connects and stands.
    Said,
    /// One that fails the socket and has woken whoever waits.
    Woken,
    Done,
}

/// Where the sender stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sender {
    /// Begins a turn. `keeps`: it is KeepWrite, which has seen that many events.
    Turn { keeps: Option<u8> },
    /// Has taken what is queued.
    Drained { keeps: Option<u8> },
    /// Has written it all.
    Written { keeps: Option<u8> },
    /// Has given up the role, and looks whether the socket is to close.
    Released,
    /// KeepWrite begins a turn: it has noted the events, and not yet that it wants more of them.
    Noted { seen: u8 },
    /// KeepWrite found the kernel full.
    Waits { seen: u8 },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    role: Role,
    /// The queue has a sender.
    is_busy: bool,
    queued: u8,
    unwritten: u8,
    /// What the sender has taken from the queue.
    taken: u8,
    senders: Vec<Sender>,
    /// Deferred work that a worker will do.
    deferred: u8,
    has_failed: bool,
    is_connected: bool,
    closing: bool,
    blocked: bool,
    /// Events that KeepWrite was told of.
    events: u8,
    room: u8,
    /// The kernel has become empty again and says so.
    has_edge: bool,
    writers: [At; 2],
    connecting: At,
    failing: At,
    closer: At,
}

impl World {
    fn new(connects: bool, fails: bool, closes: bool) -> Self {
        let at = |begins: bool| if begins { At::Start } else { At::Done };
        World {
            role: if connects { Role::Connecting } else { Role::Taken },
            is_busy: connects,
            queued: u8::from(connects),
            unwritten: u8::from(connects),
            taken: 0,
            senders: Vec::new(),
            deferred: 0,
            has_failed: false,
            is_connected: !connects,
            closing: false,
            blocked: false,
            events: 0,
            room: KERNEL_ROOM,
            has_edge: false,
            writers: [At::Start; 2],
            connecting: at(connects),
            failing: at(fails),
            closer: at(closes),
        }
    }

    fn take(&mut self, left: Role) {
        if self.role == left {
            self.role = Role::Taken;
            self.senders.push(Sender::Turn { keeps: None });
        }
    }

    /// `set_failed`, of whoever is first; what follows is for `failing` to do.
    fn fail(&mut self) {
        if !self.has_failed {
            self.has_failed = true;
            self.failing = At::Said;
        }
    }

    fn write(&mut self, writer: usize) {
        self.writers[writer] = match self.writers[writer] {
            At::Start if self.has_failed => At::Done,
            At::Start => At::Checked,
            At::Checked => {
                self.unwritten += 1;
                At::Counted
            }
            At::Counted => {
                self.queued += 1;
                let is_first = !std::mem::replace(&mut self.is_busy, true);
                if is_first { At::First } else { At::Done }
            }
            At::First => {
                assert_eq!(self.role, Role::Taken, "nobody else leaves the sender's role: {self:?}");
                self.role = Role::Deferred;
                At::Left
            }
            At::Left => {
                self.deferred += 1;
                At::Done
            }
            at => at,
        };
    }

    fn send(&mut self, which: usize) {
        let sender = self.senders.remove(which);
        let next = match sender {
            Sender::Turn { keeps } => {
                self.taken += std::mem::take(&mut self.queued);
                Some(Sender::Drained { keeps })
            }
            Sender::Drained { keeps } if self.taken == 0 => Some(Sender::Written { keeps }),
            Sender::Drained { keeps } if self.has_failed => {
                self.unwritten -= std::mem::take(&mut self.taken);
                Some(Sender::Written { keeps })
            }
            Sender::Drained { keeps } if self.room > 0 => {
                self.room -= 1;
                self.taken -= 1;
                self.unwritten -= 1;
                Some(Sender::Drained { keeps })
            }
            Sender::Drained { keeps: Some(seen) } if self.blocked => Some(Sender::Waits { seen }),
            Sender::Drained { .. } => Some(Sender::Noted { seen: self.events }),
            Sender::Written { keeps } => {
                self.blocked = false;
                if self.queued == 0 {
                    self.is_busy = false;
                    Some(Sender::Released)
                } else {
                    Some(Sender::Turn { keeps })
                }
            }
            Sender::Released => {
                if self.closing && self.unwritten == 0 {
                    self.fail();
                }
                None
            }
            Sender::Noted { seen } => {
                self.blocked = true;
                Some(Sender::Turn { keeps: Some(seen) })
            }
            Sender::Waits { .. } => Some(Sender::Noted { seen: self.events }),
        };
        self.senders.extend(next);
    }

    fn can_send(&self, sender: Sender) -> bool {
        match sender {
            Sender::Waits { seen } => seen != self.events,
            _ => true,
        }
    }

    fn steps(&self) -> Vec<World> {
        let mut next = Vec::new();
        let mut add = |change: &dyn Fn(&mut World)| {
            let mut world = self.clone();
            change(&mut world);
            let at_work = world.senders.iter().filter(|sender| **sender != Sender::Released).count();
            assert!(at_work <= 1, "one sender at a time: {world:?}");
            next.push(world);
        };
        for writer in 0..self.writers.len() {
            if self.writers[writer] != At::Done {
                add(&|world| world.write(writer));
            }
        }
        match self.connecting {
            At::Start if !self.has_failed => add(&|world| {
                world.is_connected = true;
                world.connecting = At::Said;
            }),
            At::Said => add(&|world| {
                world.take(Role::Connecting);
                world.connecting = At::Done;
            }),
            _ => {}
        }
        match self.failing {
            At::Start => add(&World::fail),
            At::Said => add(&|world| {
                world.events += 1;
                world.failing = At::Woken;
            }),
            At::Woken => add(&|world| {
                if std::mem::replace(&mut world.role, Role::Taken) != Role::Taken {
                    world.senders.push(Sender::Turn { keeps: None });
                }
                world.failing = At::Done;
            }),
            _ => {}
        }
        match self.closer {
            At::Start => add(&|world| {
                world.closing = true;
                world.closer = At::Said;
            }),
            At::Said => add(&|world| {
                if world.unwritten == 0 {
                    world.fail();
                }
                world.closer = At::Done;
            }),
            _ => {}
        }
        if self.deferred > 0 {
            add(&|world| {
                world.deferred -= 1;
                world.take(Role::Deferred);
            });
        }
        if self.room == 0 && !self.has_edge {
            add(&|world| {
                world.room = KERNEL_ROOM;
                world.has_edge = true;
            });
        }
        if self.has_edge {
            add(&|world| {
                world.has_edge = false;
                if world.blocked {
                    world.events += 1;
                }
            });
        }
        // One that has given its role up may still be there beside the next.
        for (which, sender) in self.senders.iter().enumerate() {
            if self.can_send(*sender) {
                add(&|world| world.send(which));
            }
        }
        next
    }

    /// Nobody has anything to do any more.
    fn check_end(&self) {
        let is_waited_for = !self.is_connected && !self.has_failed;
        assert!(is_waited_for || self.queued + self.taken + self.unwritten == 0, "forgotten: {self:?}");
        assert!(is_waited_for || !self.is_busy && self.senders.is_empty(), "a sender hangs: {self:?}");
        assert!(!self.closing || self.has_failed || is_waited_for, "it is to be closed: {self:?}");
    }
}

fn explore(first: World) -> usize {
    let mut seen = HashSet::from([first.clone()]);
    let mut left = vec![first];
    while let Some(world) = left.pop() {
        let steps = world.steps();
        if steps.is_empty() {
            world.check_end();
        }
        left.extend(steps.into_iter().filter(|step| seen.insert(step.clone())));
    }
    seen.len()
}

#[test]
fn the_role_is_handed_over_in_all_orders() {
    for case in 0..8 {
        let worlds = explore(World::new(case & 1 != 0, case & 2 != 0, case & 4 != 0));
        assert!(worlds > 100, "the model has gone nowhere: {case}");
    }
}
