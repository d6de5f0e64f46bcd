//! The receiving half of one side: puts segments into order, keeps bytes until they are read, and says how many more are
//! welcome. Knows neither time nor links.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::endpoint::BUFFER_MIN;
use super::packet::Acknowledgement;

/// What a segment brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Bytes that can be read now and could not before.
    pub(super) bytes: usize,
    /// The end of the stream has come.
    pub(super) is_end: bool,
}

#[derive(Debug)]
pub(super) struct Receiver {
    /// In order, not read yet.
    bytes: VecDeque<u8>,
    /// The most bytes that are kept, those ahead of a gap counted too, since they are within the window.
    limit: usize,
    /// The first byte that has not come.
    next: u64,
    /// What came ahead of a gap.
    ahead: BTreeMap<u64, Vec<u8>>,
    ends_at: Option<u64>,
    /// Up to where the sender knows that bytes are welcome.
    advertised: u64,
}

impl Receiver {
    pub(super) fn new(limit: usize) -> Self {
        Receiver {
            bytes: VecDeque::new(),
            limit,
            next: 0,
            ahead: BTreeMap::new(),
            ends_at: None,
            advertised: limit as u64,
        }
    }

    /// The first number that has not come; the end counts as one.
    pub(super) fn next(&self) -> u64 {
        self.next + u64::from(self.has_ended())
    }

    pub(super) fn unread(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the end has come, behind what is unread.
    pub(super) fn has_ended(&self) -> bool {
        self.ends_at == Some(self.next)
    }

    /// Whether a segment has bytes that did not come before.
    pub(super) fn is_news(&self, at: u64, bytes: &[u8]) -> bool {
        !bytes.is_empty() && at + bytes.len() as u64 > self.next
    }

    pub(super) fn arrived(&mut self, at: u64, mut bytes: Vec<u8>, is_last: bool) -> Arrival {
        let had_ended = self.has_ended();
        let end = self.next + self.window() as u64;
        let fits = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        if bytes.len() > fits {
            bytes.truncate(fits); // comes again: it is not acknowledged
        } else if is_last {
            self.ends_at = Some(at + bytes.len() as u64);
        }
        let before = self.next;
        if at > self.next {
            if !bytes.is_empty() {
                self.ahead.insert(at, bytes);
            }
        } else {
            self.take(at, &bytes);
            while let Some(entry) = self.ahead.first_entry().filter(|entry| *entry.key() <= self.next) {
                let (at, bytes) = entry.remove_entry();
                self.take(at, &bytes);
            }
        }
        Arrival { bytes: (self.next - before) as usize, is_end: self.has_ended() && !had_ended }
    }

    /// Appends what is new of bytes that begin at the first one missing, or before it.
    fn take(&mut self, at: u64, bytes: &[u8]) {
        let known = usize::try_from(self.next - at).unwrap_or(usize::MAX);
        if let Some(fresh) = bytes.get(known..) {
            self.bytes.extend(fresh);
            self.next += fresh.len() as u64;
        }
    }

    fn window(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// What the sender is to be told now.
    pub(super) fn acknowledge(&mut self, echo: Option<Duration>) -> Acknowledgement {
        self.advertised = self.next + self.window() as u64;
        Acknowledgement { next: self.next(), window: self.window(), echo }
    }

    /// Hands at most `max` bytes to `to`, and says whether the sender should be told that there is room again.
    pub(super) fn read(&mut self, max: usize, mut to: impl FnMut(&[u8])) -> bool {
        let n = max.min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let from_front = n.min(front.len());
        for slice in [&front[..from_front], &back[..n - from_front]] {
            if !slice.is_empty() {
                to(slice);
            }
        }
        self.bytes.drain(..n);
        if self.bytes.is_empty() {
            self.bytes.shrink_to(BUFFER_MIN);
        }
        let gained = (self.next + self.window() as u64).saturating_sub(self.advertised);
        gained >= self.limit as u64 / 2
    }

    /// Forgets what came ahead of a gap: nothing more is expected.
    pub(super) fn give_up(&mut self) {
        self.ahead.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(receiver: &mut Receiver) -> Vec<u8> {
        let mut all = Vec::new();
        receiver.read(usize::MAX, |slice| all.extend_from_slice(slice));
        all
    }

    #[test]
    fn segments_are_put_into_order_and_doubles_ignored() {
        let mut receiver = Receiver::new(100);
        assert_eq!(receiver.arrived(3, b"def".to_vec(), true), Arrival::default());
        assert!(receiver.is_news(0, b"abc") && !receiver.has_ended());
        assert_eq!(receiver.acknowledge(None).next, 0);
        assert_eq!(receiver.arrived(0, b"abc".to_vec(), false), Arrival { bytes: 6, is_end: true });
        assert!(!receiver.is_news(0, b"abc"));
        assert_eq!(receiver.arrived(0, b"abc".to_vec(), false), Arrival::default());
        assert_eq!(receiver.arrived(3, b"def".to_vec(), true), Arrival::default());
        assert_eq!(receiver.acknowledge(None).next, 7);
        assert_eq!(read_all(&mut receiver), b"abcdef");
        assert!(receiver.has_ended());
    }

    #[test]
    fn the_window_closes_and_opens_in_halves() {
        let mut receiver = Receiver::new(10);
        receiver.arrived(0, vec![1; 12], false);
        assert_eq!(receiver.unread(), 10, "what is beyond the window is not taken");
        assert_eq!(receiver.acknowledge(None), Acknowledgement { next: 10, window: 0, echo: None });
        assert!(!receiver.read(4, |_| {}));
        assert!(receiver.read(1, |_| {}));
        assert_eq!(receiver.acknowledge(None).window, 5);
        assert!(!receiver.read(4, |_| {}));
    }

    #[test]
    fn an_end_beyond_the_window_comes_later() {
        let mut receiver = Receiver::new(2);
        assert_eq!(receiver.arrived(0, b"abc".to_vec(), true), Arrival { bytes: 2, is_end: false });
        assert_eq!(read_all(&mut receiver), b"ab");
        assert_eq!(receiver.arrived(0, b"abc".to_vec(), true), Arrival { bytes: 1, is_end: true });
    }
}
