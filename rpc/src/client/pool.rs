//! Connections that carry one call at a time, while nobody uses them (`pooled`, `spec/rpc-core.md` §11).
//!
//! Owns which is used next, and which has been unused for too long. Reads no clock: time passes in rounds, so that giving
//! a connection back costs none.

/// Rounds that a connection is unused for before it is closed. A round takes that part of the idle timeout.
pub(super) const IDLE_ROUNDS: u32 = 8;

/// The unused connections of an entry.
#[derive(Debug)]
pub(super) struct Pool<T> {
    /// With the round in which it came back. The one that was used last is used next, so that the others may go idle: the
    /// first has been here longest.
    unused: Vec<(T, u64)>,
    round: u64,
    /// Somebody will end the round.
    is_swept: bool,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool { unused: Vec::new(), round: 0, is_swept: false }
    }
}

impl<T> Pool<T> {
    pub(super) fn pop(&mut self) -> Option<T> {
        self.unused.pop().map(|(one, _)| one)
    }

    /// True: rounds are to be ended from now on.
    pub(super) fn push(&mut self, one: T) -> bool {
        self.unused.push((one, self.round));
        !std::mem::replace(&mut self.is_swept, true)
    }

    pub(super) fn len(&self) -> usize {
        self.unused.len()
    }

    /// Takes those out that `is_it` says.
    pub(super) fn remove(&mut self, mut is_it: impl FnMut(&T) -> bool) {
        self.unused.retain(|(one, _)| !is_it(one));
    }

    /// Looks at the one that was used last.
    pub(super) fn last(&self) -> Option<&T> {
        self.unused.last().map(|(one, _)| one)
    }

    /// Ends a round: returns those that were unused for all of the last [`IDLE_ROUNDS`], but for one if one is reserved.
    pub(super) fn end_round(&mut self, reserves_one: bool) -> Vec<T> {
        self.round += 1;
        let too_old = |&(_, since): &(T, u64)| self.round - since > u64::from(IDLE_ROUNDS);
        let count = self.unused.iter().take_while(|one| too_old(one)).count();
        let count = count.min(self.unused.len().saturating_sub(usize::from(reserves_one)));
        self.unused.drain(..count).map(|(one, _)| one).collect()
    }

    /// Whether the next round is to be ended as well. If not, the next [`push`](Self::push) says when it is.
    pub(super) fn goes_on(&mut self) -> bool {
        self.is_swept = !self.unused.is_empty();
        self.is_swept
    }

    pub(super) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.unused).into_iter().map(|(one, _)| one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_used_is_used_next_and_the_others_go() {
        let mut pool = Pool::default();
        assert!(pool.push('a'), "rounds begin");
        assert!(!pool.push('b'));
        for _ in 0..IDLE_ROUNDS {
            assert!(pool.end_round(false).is_empty());
            assert_eq!(pool.pop(), Some('b'));
            pool.push('b');
        }
        assert_eq!(pool.end_round(false), ['a'], "unused for all rounds");
        assert!(pool.goes_on());
        assert_eq!(pool.len(), 1);
        for _ in 0..IDLE_ROUNDS {
            pool.end_round(false);
        }
        assert!(!pool.goes_on() && pool.pop().is_none());
        assert!(pool.push('c'), "rounds begin again");
    }

    #[test]
    fn one_is_reserved_if_asked_for() {
        let mut pool = Pool::default();
        for one in ["a", "b", "c"] {
            pool.push(one);
        }
        let gone: Vec<_> = (0..20).flat_map(|_| pool.end_round(true)).collect();
        assert_eq!(gone, ["a", "b"]);
        assert_eq!(pool.last(), Some(&"c"));
        pool.remove(|one| *one == "c");
        assert!(!pool.goes_on());
    }
}
