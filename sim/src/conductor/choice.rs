//! What the seed chooses: who goes on, how far, and how long that takes.
//!
//! Chances that are the same for all find rare orders rarely. So each seed has a manner of its own: one in which all are
//! equal, one that stays with a worker for long, and one that ranks the workers and lowers the rank of one now and then,
//! which starves some for a while (after Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs",
//! 2010). Some seeds also delay a worker that could go on, as a system does that takes its processor away.

use std::time::Duration;

use bthread::simulation::Pace;

use crate::random::Random;

/// For how long at most a worker that could go on is kept from it before it makes its next step. What a bthread does late
/// on a node that is neither slow nor paused is late by about as much.
pub const HOLD_MAX: Duration = Duration::from_millis(2);

/// Choices for others after which a worker gets its turn whatever its rank.
const PASSED_MAX: u32 = 1_000;
/// Turns for which a manner lasts in seeds that change it.
const MANNER_LASTS: (u64, u64) = (10, 2_000);

pub(crate) struct Chooser {
    random: Random,
    manner: Manner,
    /// Turns until the next manner, in seeds that change it.
    changes_in: Option<u64>,
    /// Chance of [`Pace::OneTask`].
    one_task: f64,
    /// The chance of a delay at each turn.
    delays: f64,
    /// What a step takes at most: nanoseconds.
    cost_max: u64,
    last: usize,
    /// Of each worker; the highest goes first.
    ranks: Vec<u64>,
    lowest: u64,
    /// How often each worker was passed over since its last turn.
    passed: Vec<u32>,
}

#[derive(Clone, Copy)]
enum Manner {
    Equal,
    /// Stays with the worker it has with this chance.
    Staying(f64),
    /// Lowers the rank of the one that runs with this chance.
    Ranked(f64),
}

impl Manner {
    fn draw(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Manner::Equal,
            1 => Manner::Staying(*random.pick(&[0.5, 0.9, 0.99])),
            _ => Manner::Ranked(*random.pick(&[0.2, 0.05, 0.01, 0.002])),
        }
    }
}

impl Chooser {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::stream(seed, "conductor", 0);
        Chooser {
            manner: Manner::draw(&mut random),
            changes_in: random.chance(0.3).then_some(0),
            one_task: *random.pick(&[1.0, 1.0, 0.5, 0.0]),
            delays: *random.pick(&[0.0, 0.0, 0.001, 0.02]),
            cost_max: *random.pick(&[0, 1_000, 20_000]),
            last: usize::MAX,
            ranks: Vec::new(),
            lowest: u64::MAX / 2,
            passed: Vec::new(),
            random,
        }
    }

    /// One of the workers, of which there is at least one.
    pub(crate) fn choose(&mut self, candidates: &[usize]) -> usize {
        self.change_manner();
        let highest = candidates.iter().copied().max().unwrap_or_default();
        while self.ranks.len() <= highest {
            self.ranks.push(u64::MAX / 2 + 1 + (self.random.u64() >> 2));
            self.passed.push(0);
        }
        let starved = candidates.iter().copied().find(|worker| self.passed[*worker] >= PASSED_MAX);
        let chosen = match (candidates, starved, self.manner) {
            ([only], ..) => *only,
            (_, Some(starved), _) => starved,
            (_, None, Manner::Equal) => *self.random.pick(candidates),
            (_, None, Manner::Staying(stays)) => {
                let stays = self.random.chance(stays) && candidates.contains(&self.last);
                if stays { self.last } else { *self.random.pick(candidates) }
            }
            (_, None, Manner::Ranked(lowers)) => {
                let first = candidates.iter().copied().max_by_key(|worker| self.ranks[*worker]);
                let first = first.unwrap_or(candidates[0]);
                if self.random.chance(lowers) {
                    self.lowest -= 1;
                    self.ranks[first] = self.lowest;
                }
                first
            }
        };
        for worker in candidates {
            self.passed[*worker] += 1;
        }
        self.passed[chosen] = 0;
        self.last = chosen;
        chosen
    }

    fn change_manner(&mut self) {
        match &mut self.changes_in {
            None => {}
            Some(0) => {
                self.manner = Manner::draw(&mut self.random);
                self.changes_in = Some(self.random.between(MANNER_LASTS.0, MANNER_LASTS.1));
            }
            Some(turns) => *turns -= 1,
        }
    }

    /// Whether a worker that could go on is kept from it, and for how many nanoseconds: short ones are as likely as long ones.
    pub(crate) fn delay(&mut self) -> Option<u64> {
        if self.delays == 0.0 || !self.random.chance(self.delays) {
            return None;
        }
        let longest = HOLD_MAX.as_nanos() as u64 >> self.random.below(13);
        Some(self.random.between(longest / 2, longest))
    }

    /// How far the next step goes.
    pub(crate) fn pace(&mut self) -> Pace {
        if self.random.chance(self.one_task) { Pace::OneTask } else { Pace::Free }
    }

    /// How many nanoseconds a step takes the worker that makes it.
    pub(crate) fn cost(&mut self) -> u64 {
        if self.cost_max == 0 { 0 } else { self.random.below(self.cost_max + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_turn_under_every_seed() {
        for seed in 0..200 {
            let mut chooser = Chooser::new(seed);
            let mut since = [0_u32; 5];
            for _ in 0..20_000 {
                let chosen = chooser.choose(&[0, 1, 2, 3, 4]);
                since.iter_mut().for_each(|turns| *turns += 1);
                since[chosen] = 0;
                // Several can reach the bound at once; one of them goes each time.
                assert!(since.iter().all(|turns| *turns <= PASSED_MAX + 5), "{seed} {since:?}");
            }
        }
    }

    #[test]
    fn some_seeds_starve_and_some_stay() {
        let longest = |seed| {
            let mut chooser = Chooser::new(seed);
            let (mut starved, mut stayed, mut since, mut run, mut last) = (0, 0, [0_u32; 3], 0, 9);
            for _ in 0..2_000 {
                let chosen = chooser.choose(&[0, 1, 2]);
                since.iter_mut().for_each(|turns| *turns += 1);
                since[chosen] = 0;
                starved = since.into_iter().max().unwrap().max(starved);
                run = if chosen == last { run + 1 } else { 0 };
                stayed = stayed.max(run);
                last = chosen;
            }
            (starved, stayed)
        };
        let all: Vec<_> = (0..50).map(longest).collect();
        assert!(all.iter().any(|(starved, _)| *starved > 500));
        assert!(all.iter().any(|(starved, _)| *starved < 50));
        assert!(all.iter().any(|(_, stayed)| *stayed > 100));
    }

    #[test]
    fn delays_keep_their_bound() {
        let mut delays = 0;
        for seed in 0..100 {
            let mut chooser = Chooser::new(seed);
            for delay in (0..1_000).filter_map(|_| chooser.delay()) {
                assert!(u128::from(delay) <= HOLD_MAX.as_nanos());
                delays += 1;
            }
        }
        assert!(delays > 100);
    }
}
