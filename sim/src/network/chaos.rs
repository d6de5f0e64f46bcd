//! Plans of what goes wrong when: drawn from the seed, and carried out while a scenario runs.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Duration;

use super::fault::Fault;
use crate::{Random, World};

/// The plan that [`Chaos::plan`] makes, by whose name elements are left out.
const PLAN: &str = "chaos";

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "scenarios make it")]
pub struct Trouble {
    /// When it begins, since the run began.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// How long it stays, if it is [lasting](Fault::is_lasting).
    pub lasts: Duration,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}: {}", self.at, self.fault)?;
        if self.fault.is_lasting() { write!(f, " for {:?}", self.lasts) } else { Ok(()) }
    }
}

/// What goes wrong in the network, in the order of its beginning.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn scenario(world: &sim::World) {
/// let nodes = [world.node("a").ip(), world.node("b").ip()];
/// let second = Duration::from_secs(1);
/// let chaos = sim::Chaos::plan(world, 10, Duration::ZERO..60 * second, second / 10..5 * second, &nodes);
/// let of_chaos = world.clone();
/// let troubles = bthread::spawn(move || chaos.run(&of_chaos));
/// // ... work for nodes ...
/// troubles.join().unwrap();
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    troubles: Vec<Trouble>,
}

impl Chaos {
    /// Draws `count` faults between some of `nodes`, which begin within `when`, counted from now, and last as long as
    /// `lasts` says. When a failing run is made shorter, some are left out: the [plan](World::plan)'s name is `chaos`, so that a
    /// scenario has one of these.
    ///
    /// # Panics
    /// For fewer than two nodes, and ranges whose end is before their start.
    pub fn plan(
        world: &World,
        count: usize,
        when: Range<Duration>,
        lasts: Range<Duration>,
        nodes: &[Ipv4Addr],
    ) -> Self {
        let now = world.now();
        world.plan(PLAN, count, |random| Trouble::draw(random, now, &when, &lasts, nodes)).into()
    }

    /// What is planned.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// Carries out the plan: lets faults begin and end at their times, those that are in the past at once, and returns when
    /// the last one has ended.
    ///
    /// *Blocking*: parks the bthread in between. For one of the scenario's own: clocks of nodes may drift.
    pub fn run(self, world: &World) {
        for (at, turn) in self.turns() {
            while let Some(left) = at.checked_sub(world.now()).filter(|left| !left.is_zero()) {
                bthread::sleep(left);
            }
            match turn {
                Turn::Begins(fault) => world.network().inject(fault),
                Turn::Ends(fault) => world.network().lift(&fault),
            }
        }
    }

    /// Beginnings and ends in the order of their times.
    fn turns(self) -> Vec<(Duration, Turn)> {
        let mut turns = Vec::new();
        for Trouble { at, fault, lasts } in self.troubles {
            let end = fault.is_lasting().then(|| (at.saturating_add(lasts), Turn::Ends(fault.clone())));
            turns.push((at, Turn::Begins(fault)));
            turns.extend(end);
        }
        // Stable: the same plan gives the same order, and what lasts no time begins before it ends.
        turns.sort_by_key(|(at, _)| *at);
        turns
    }
}

impl Trouble {
    fn draw(
        random: &mut Random,
        now: Duration,
        when: &Range<Duration>,
        lasts: &Range<Duration>,
        nodes: &[Ipv4Addr],
    ) -> Self {
        Trouble {
            at: now.saturating_add(random.duration(when.start, when.end)),
            fault: Fault::draw(random, nodes),
            lasts: random.duration(lasts.start, lasts.end),
        }
    }
}

impl From<Vec<Trouble>> for Chaos {
    /// A plan of the scenario's own.
    fn from(mut troubles: Vec<Trouble>) -> Self {
        troubles.sort_by_key(|trouble| trouble.at);
        Chaos { troubles }
    }
}

#[derive(Debug, PartialEq)]
enum Turn {
    Begins(Fault),
    Ends(Fault),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_begin_and_end_in_the_order_of_time() {
        let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let (cut, reset) = (Fault::OneWay { from: a, to: b }, Fault::ResetConnections { a, b });
        let seconds = Duration::from_secs;
        let trouble = |at, fault: &Fault, lasts| Trouble {
            at: seconds(at),
            fault: fault.clone(),
            lasts: seconds(lasts),
        };
        let chaos = Chaos::from(vec![trouble(3, &reset, 9), trouble(1, &cut, 4), trouble(2, &cut, 1)]);
        assert_eq!(chaos.troubles()[0].to_string(), "at 1s: cut 10.0.0.1 -> 10.0.0.2 for 4s");
        assert_eq!(chaos.troubles()[2].to_string(), "at 3s: reset connections 10.0.0.1 | 10.0.0.2");
        let turns = chaos.turns();
        let expected = [
            (1, Turn::Begins(cut.clone())),
            (2, Turn::Begins(cut.clone())),
            (3, Turn::Ends(cut.clone())),
            (3, Turn::Begins(reset)),
            (5, Turn::Ends(cut)),
        ];
        assert_eq!(turns, expected.map(|(at, turn)| (seconds(at), turn)));
    }

    #[test]
    fn a_fault_that_lasts_no_time_is_lifted() {
        let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let fault = Fault::Partition { a, b };
        let trouble = Trouble { at: Duration::ZERO, fault: fault.clone(), lasts: Duration::ZERO };
        let turns: Vec<_> = Chaos::from(vec![trouble]).turns().into_iter().map(|(_, turn)| turn).collect();
        assert_eq!(turns, [Turn::Begins(fault.clone()), Turn::Ends(fault)]);
    }

    #[test]
    fn what_is_drawn_is_within_the_ranges() {
        let nodes: Vec<_> = (1..5).map(|n| Ipv4Addr::new(10, 0, 0, n)).collect();
        let (second, mut random) = (Duration::from_secs(1), Random::new(1));
        for _ in 0..100 {
            let trouble =
                Trouble::draw(&mut random, second, &(second..3 * second), &(second..2 * second), &nodes);
            assert!((2 * second..=4 * second).contains(&trouble.at), "{trouble}");
            assert!((second..=2 * second).contains(&trouble.lasts), "{trouble}");
        }
    }
}
