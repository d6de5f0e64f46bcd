//! How much a stream may have on its way: pure arithmetic over the bytes written and those that the peer has consumed
//! (`spec/protocols-baidu.md` §3.4). No lock, no frame.

/// The sender's window of one stream.
#[derive(Debug)]
pub(super) struct Window {
    produced: u64,
    consumed: u64,
    /// 0: unlimited.
    current: u64,
    min: u64,
    max: u64,
    is_dynamic: bool,
}

impl Window {
    /// A window between `min` and `max` bytes; 0: no such bound. `connection_max`: what all streams of a connection may
    /// have unconsumed, 0 if the window is not to depend on it.
    pub(super) fn new(min: usize, max: usize, connection_max: u64) -> Self {
        let (mut min, max) = (min as u64, max as u64);
        if max > 0 && min > max {
            min = 0;
        }
        let is_dynamic = connection_max > 0;
        let current = if is_dynamic && min > 0 && max > 0 { min } else { max };
        Window { produced: 0, consumed: 0, current, min, max, is_dynamic }
    }

    /// Whether the peer is to say what it has consumed.
    pub(super) fn is_limited(&self) -> bool {
        self.current > 0
    }

    /// Whether the connection's sum of unconsumed bytes counts this stream.
    pub(super) fn is_dynamic(&self) -> bool {
        self.is_dynamic && self.is_limited()
    }

    /// Whether nothing may be written now. Asked before a message, not with its size: one may overshoot.
    pub(super) fn is_full(&self) -> bool {
        self.is_limited() && self.unconsumed() >= self.current
    }

    /// Bytes written that the peer has not consumed, as far as it has said.
    pub(super) fn unconsumed(&self) -> u64 {
        self.produced - self.consumed
    }

    /// A message was written.
    pub(super) fn produce(&mut self, bytes: usize) {
        self.produced += bytes as u64;
    }

    /// The peer says what it has consumed since the beginning: how many bytes more that is than it had said before.
    /// A number that goes back changes nothing, and more than was written cannot be.
    pub(super) fn consume(&mut self, total: i64) -> u64 {
        let total = u64::try_from(total).unwrap_or(0).min(self.produced);
        let more = total.saturating_sub(self.consumed);
        self.consumed += more;
        more
    }

    /// Fits a dynamic window to what all streams of the connection have unconsumed.
    pub(super) fn adapt(&mut self, connection_unconsumed: u64, connection_max: u64) {
        if !self.is_dynamic() || connection_max == 0 {
            return;
        }
        if connection_unconsumed > connection_max {
            self.current = if self.min > 0 { self.min } else { (self.current / 2).max(1) };
        } else if self.is_full() && self.current < self.max {
            self.current = (self.current * 2).min(self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_message_may_overshoot_and_the_next_may_not() {
        let mut window = Window::new(0, 10, 0);
        assert!(window.is_limited() && !window.is_full());
        window.produce(9);
        assert!(!window.is_full());
        window.produce(1000);
        assert!(window.is_full());
        assert_eq!(window.consume(999), 999);
        assert!(window.is_full(), "10 of 10 are left");
        assert_eq!(window.consume(1000), 1);
        assert!(!window.is_full());
    }

    #[test]
    fn without_a_bound_it_is_never_full() {
        let mut window = Window::new(5, 0, 0);
        window.produce(usize::MAX / 4);
        assert!(!window.is_full() && !window.is_limited());
    }

    #[test]
    fn feedback_that_cannot_be_changes_nothing_that_it_should_not() {
        let mut window = Window::new(0, 10, 0);
        window.produce(10);
        assert_eq!(window.consume(-1), 0);
        assert_eq!(window.consume(4), 4);
        assert_eq!(window.consume(3), 0, "late");
        assert_eq!(window.consume(i64::MAX), 6, "no more than was written");
        assert_eq!(window.unconsumed(), 0);
    }

    #[test]
    fn a_dynamic_window_grows_while_there_is_room_and_falls_back() {
        let mut window = Window::new(4, 20, 100);
        window.produce(3);
        assert!(!window.is_full());
        window.produce(5);
        assert!(window.is_full());
        assert_eq!(window.consume(1), 1);
        window.adapt(7, 100); // full with 7 of 4
        assert_eq!(window.current, 8);
        window.adapt(7, 100);
        assert_eq!(window.current, 8, "it was not full");
        window.produce(30);
        window.adapt(37, 100);
        window.adapt(37, 100);
        assert_eq!(window.current, 20, "the largest");
        window.adapt(101, 100);
        assert_eq!(window.current, 4);
        let mut halved = Window::new(0, 20, 100);
        assert_eq!(halved.current, 20);
        halved.adapt(101, 100);
        assert_eq!(halved.current, 10);
        for _ in 0..10 {
            halved.adapt(101, 100);
        }
        assert!(halved.is_limited(), "half of little is not no bound");
    }

    #[test]
    fn a_smallest_window_larger_than_the_largest_is_none() {
        assert_eq!(Window::new(30, 20, 100).current, 20);
        assert_eq!(Window::new(10, 20, 100).current, 10);
        assert_eq!(Window::new(10, 20, 0).current, 20);
    }

    proptest! {
        #[test]
        fn what_is_on_the_way_is_the_difference(steps in prop::collection::vec((0_usize..5000, any::<i64>()), 0..100)) {
            let mut window = Window::new(100, 4000, 0);
            let (mut produced, mut consumed) = (0_u64, 0_u64);
            for (bytes, total) in steps {
                if !window.is_full() {
                    window.produce(bytes);
                    produced += bytes as u64;
                }
                let more = window.consume(total % 100_000);
                consumed += more;
                prop_assert!(consumed <= produced);
                prop_assert_eq!(window.unconsumed(), produced - consumed);
                prop_assert!(window.unconsumed() < 4000 + 5000, "at most a window and a message");
            }
        }
    }
}
