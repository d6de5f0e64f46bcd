//! Random numbers that follow from a seed: xoshiro256++, its state filled by splitmix64 (Blackman and Vigna, public
//! domain algorithms). Each use has a stream of its own, named, so that drawing more in one place shifts no other.

use std::time::Duration;

/// A stream of random numbers. The same on every machine; not for secrets.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream that follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut mixer = seed;
        Random { state: std::array::from_fn(|_| split(&mut mixer)) }
    }

    /// The stream that follows from `seed`, a name and a number: another for each of them.
    pub fn stream(seed: u64, name: &str, number: u64) -> Self {
        let mut mixed = seed;
        for word in [fold(name.as_bytes()), number] {
            mixed = split(&mut mixed) ^ word;
        }
        Random::new(split(&mut mixed))
    }

    /// Any number.
    pub fn u64(&mut self) -> u64 {
        let s = &mut self.state;
        let drawn = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let shifted = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= shifted;
        s[3] = s[3].rotate_left(45);
        drawn
    }

    /// A number from 0 to `n` - 1; all are equally likely, to one part in 2^64 / `n`.
    ///
    /// # Panics
    /// For `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n != 0, "no number is below 0");
        ((u128::from(self.u64()) * u128::from(n)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// For `low` > `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "an empty range: {low} to {high}");
        match (high - low).checked_add(1) {
            Some(count) => low + self.below(count),
            None => self.u64(),
        }
    }

    /// A time from `low` to `high`, both included, to the nanosecond; what exceeds 584 years counts as that.
    ///
    /// # Panics
    /// For `low` > `high`.
    pub fn duration(&mut self, low: Duration, high: Duration) -> Duration {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.between(nanos(low), nanos(high)))
    }

    /// True with probability `p`; never for 0 or less, always for 1 or more.
    pub fn chance(&mut self, p: f64) -> bool {
        const UNIT: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.u64() >> 11) as f64) * UNIT < p
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// Any bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// splitmix64.
fn split(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a.
fn fold(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_are_those_that_were_published() {
        let mut mixer = 0;
        assert_eq!(split(&mut mixer), 0xe220_a839_7b1d_cdaf);
        let mut random = Random { state: [1, 2, 3, 4] };
        assert_eq!(
            [random.u64(), random.u64(), random.u64()],
            [41_943_041, 58_720_359, 3_588_806_011_781_223]
        );
    }

    #[test]
    fn streams_differ_by_seed_name_and_number() {
        let first = |seed, name, number| Random::stream(seed, name, number).u64();
        let drawn =
            [first(1, "a", 0), first(2, "a", 0), first(1, "b", 0), first(1, "a", 1), first(0, "a", 1)];
        for (i, a) in drawn.iter().enumerate() {
            assert!(!drawn[..i].contains(a));
        }
        assert_eq!(first(7, "plan", 3), first(7, "plan", 3));
    }

    #[test]
    fn ranges_are_kept_and_reached() {
        let mut random = Random::new(3);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[random.between(10, 14) as usize - 10] += 1;
        }
        assert!(seen.iter().all(|times| (150..250).contains(times)), "{seen:?}");
        assert!(!random.chance(0.0) && random.chance(1.0));
        let _any = random.between(0, u64::MAX);
        assert_eq!(random.duration(Duration::MAX, Duration::MAX), Duration::from_nanos(u64::MAX));
        let mut bytes = [0; 11];
        random.fill(&mut bytes);
        assert!(bytes[8..].iter().any(|byte| *byte != 0));
    }
}
