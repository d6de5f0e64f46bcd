//! The accounting of nested calls: what each server on the way knew of the deadline, and when it was told that nobody
//! waits any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bobbin::{CancelReason, bthread};
use sim::World;

use crate::bounds::{CANCEL_HEARD, ROUNDING, SLACK, drifted};
use crate::site::{Site, lock};

/// One run of one hop of a call.
struct Run {
    site: Arc<Site>,
    incarnation: u32,
    begun: Duration,
    /// What was left of the time of its caller when it began.
    left: Option<Duration>,
    /// By the server's clock.
    deadline: Option<Instant>,
    watched: Option<Duration>,
    told: Option<(Duration, CancelReason)>,
    ended: Option<Duration>,
}

/// Names a run: the call, the hop, and the how-manieth run of that.
pub(super) type RunName = (u64, usize, usize);

/// The runs of all calls of a workload.
pub(super) struct Book {
    world: World,
    /// Nothing fails but what is asked to, so that attempts arrive in their order.
    is_calm: bool,
    runs: Mutex<BTreeMap<(u64, usize), Vec<Run>>>,
}

impl Book {
    pub(super) fn new(world: &World, is_calm: bool) -> Arc<Self> {
        Arc::new(Book { world: world.clone(), is_calm, runs: Mutex::default() })
    }

    /// A hop begins to run. `slept`: for how long the hop before sleeps at least before it calls this one; `all`: what the
    /// first caller allowed.
    pub(super) fn begin(
        &self,
        (name, hop): (u64, usize),
        site: &Arc<Site>,
        deadline: Option<Instant>,
        slept: Duration,
        all: Duration,
    ) -> RunName {
        let now = self.world.now();
        let left = deadline.map(|deadline| deadline.saturating_duration_since(bthread::clock::now()));
        self.world.note(format_args!("hop {hop} of call {name:x} runs, {left:?} left"));
        let mut runs = lock(&self.runs);
        let before = match hop.checked_sub(1) {
            None => Some(all),
            Some(hop) => runs.get(&(name, hop)).and_then(|runs| runs.iter().filter_map(|run| run.left).max()),
        };
        let of_hop = runs.entry((name, hop)).or_default();
        // An attempt behind one that a handler took its time for has so much less.
        let behind = of_hop.iter().filter_map(|run| {
            let took = run.ended?.saturating_sub(run.begun);
            Some(run.left?.saturating_sub(took))
        });
        let behind = behind.min().filter(|_| self.is_calm);
        let number = of_hop.len();
        let incarnation = site.node.incarnation();
        let site = site.clone();
        of_hop.push(Run {
            site,
            incarnation,
            begun: now,
            left,
            deadline,
            watched: None,
            told: None,
            ended: None,
        });
        drop(runs);
        let Some(left) = left else {
            self.world.violation(format_args!("hop {hop} of call {name:x} knows no deadline"));
            return (name, hop, number);
        };
        let most = before.map(|before| before.saturating_sub(slept));
        for most in [most, behind].into_iter().flatten() {
            let most = most + ROUNDING + drifted(all);
            if left > most {
                self.world.violation(format_args!(
                    "hop {hop} of call {name:x} has {left:?} left, expected at most {most:?}"
                ));
            }
        }
        (name, hop, number)
    }

    fn change<T>(&self, (name, hop, number): RunName, f: impl FnOnce(&mut Run) -> T) -> Option<T> {
        lock(&self.runs).get_mut(&(name, hop)).and_then(|runs| runs.get_mut(number)).map(f)
    }

    /// It asks to be told when nobody waits any more.
    pub(super) fn watch(&self, run: RunName) {
        let now = self.world.now();
        self.change(run, |run| run.watched = Some(now));
    }

    /// It is told.
    pub(super) fn told(&self, name: RunName, reason: CancelReason) {
        let (call, hop, _) = name;
        self.world.note(format_args!("hop {hop} of call {call:x} is told: {reason:?}"));
        let (now, now_there) = (self.world.now(), bthread::clock::now());
        let wrong = self.change(name, |run| {
            if run.told.is_some() {
                return Some("is told twice".to_owned());
            }
            let wrong = run.deadline.and_then(|deadline| {
                let late = now_there.saturating_duration_since(deadline);
                let ill = run.site.ill_for(run.begun, now);
                if reason == CancelReason::DeadlinePassed && now_there < deadline {
                    return Some(format!("is told of its deadline {:?} before it", deadline - now_there));
                }
                let is_late =
                    late > SLACK + ill && run.watched.is_some_and(|watched| watched + SLACK + ill < now);
                is_late.then(|| format!("is told {late:?} after its deadline"))
            });
            run.told = Some((now, reason));
            wrong
        });
        if let Some(Some(wrong)) = wrong {
            self.world.violation(format_args!("hop {hop} of call {call:x} {wrong}"));
        }
    }

    /// Its handler is about to return. For `blind` it did not look whether anybody waits.
    pub(super) fn end(&self, name: RunName, blind: Duration) {
        let (call, hop, _) = name;
        let (now, now_there) = (self.world.now(), bthread::clock::now());
        let late = self.change(name, |run| {
            run.ended = Some(now);
            let ill = run.site.ill_for(run.begun, now);
            let late = run.deadline.map(|deadline| now_there.saturating_duration_since(deadline))?;
            (late > SLACK + blind + ill).then_some(late)
        });
        if let Some(Some(late)) = late {
            self.world.violation(format_args!(
                "the handler of hop {hop} of call {call:x} outlives its deadline by {late:?}"
            ));
        }
    }

    /// What the end of the run tells: whoever asked was told; and, where all is well and each call has its connection for
    /// itself, soon after the caller had `canceled`, as far as the way takes `latency_max`.
    pub(super) fn audit(&self, canceled: &BTreeMap<u64, Duration>, latency_max: Option<Duration>) {
        let runs = lock(&self.runs);
        let mut wrong = Vec::new();
        for ((name, hop), of_hop) in runs.iter() {
            for run in of_hop {
                let lives = run.site.node.incarnation() == run.incarnation;
                if lives && run.watched.is_some() && run.told.is_none() {
                    wrong.push(format!(
                        "hop {hop} of call {name:x} asked to be told of its end, and never was"
                    ));
                }
                let Some(latency_max) = latency_max else { continue };
                let cause = match hop.checked_sub(1) {
                    None => canceled.get(name).copied(),
                    Some(hop) => runs.get(&(*name, hop)).and_then(|runs| {
                        let heard = |run: &Run| match &run.told {
                            Some((at, CancelReason::ConnectionFailed(_))) => Some(*at),
                            _ => None,
                        };
                        runs.iter().filter_map(heard).max()
                    }),
                };
                let (Some(cause), Some(watched), Some((told, reason))) = (cause, run.watched, &run.told)
                else {
                    continue;
                };
                let latest = cause.max(run.begun).max(watched) + latency_max + CANCEL_HEARD;
                if *told > latest {
                    wrong.push(format!(
                        "hop {hop} of call {name:x} was told at {told:?} ({reason:?}) that its caller went at {cause:?}, \
                         expected at {latest:?} at the latest"
                    ));
                }
            }
        }
        drop(runs);
        wrong.into_iter().for_each(|wrong| self.world.violation(wrong));
    }
}
