//! The sending half of one side: keeps bytes until the peer has acknowledged them, cuts segments, sends them again. Knows
//! no links; time is what it is told.

use std::collections::VecDeque;
use std::time::Duration;

use super::endpoint::BUFFER_MIN;
use super::packet::Acknowledgement;

/// Segments of a stream that are on their way at a time.
pub const SEGMENTS_IN_FLIGHT_MAX: usize = 64;

/// The first pause until bytes are sent again, at least; it doubles each time (as `TCP_RTO_MIN` of Linux).
pub const RETRANSMISSION_PAUSE_MIN: Duration = Duration::from_millis(200);

/// The longest such pause (as `TCP_RTO_MAX`).
pub const RETRANSMISSION_PAUSE_MAX: Duration = Duration::from_secs(120);

/// Bytes are sent again for so long before the connection is given up: what Linux's 15 retransmissions (`tcp_retries2`)
/// come to.
pub const RETRANSMISSION_TIME_MAX: Duration = Duration::from_millis(924_600);

/// One that is on its way, or was lost there.
#[derive(Debug)]
struct Segment {
    at: u64,
    len: usize,
    is_last: bool,
    is_lost: bool,
}

impl Segment {
    /// The first number behind it, of which the end takes one.
    fn end(&self) -> u64 {
        self.at + self.len as u64 + u64::from(self.is_last)
    }
}

/// A segment to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) is_last: bool,
    /// It was sent before.
    pub(super) is_again: bool,
}

/// What to do when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Send what is to be sent, which is a lost segment.
    Again,
    /// Ask the peer whether there is room now.
    Probe,
    /// The peer has not answered for too long.
    GiveUp,
}

#[derive(Debug)]
pub(super) struct Sender {
    /// From the first one that is not acknowledged on.
    bytes: VecDeque<u8>,
    limit: usize,
    segment_max: usize,
    patience: Duration,
    acknowledged: u64,
    /// The first byte that was never sent.
    next: u64,
    is_end_sent: bool,
    is_end_acknowledged: bool,
    is_given_up: bool,
    /// Bytes before this are welcome.
    window_end: u64,
    ends: bool,
    in_flight: VecDeque<Segment>,
    /// Lost segments that may be sent again before the next acknowledgement.
    again_max: usize,
    /// A write has found no room.
    wants_room: bool,
    round_trip: Duration,
    pause: Duration,
    again_at: Option<Duration>,
    unanswered_since: Option<Duration>,
}

impl Sender {
    /// For at most `limit` bytes at a time, in segments of at most `segment_max`, that may be unacknowledged for
    /// `patience`.
    pub(super) fn new(limit: usize, segment_max: usize, patience: Duration) -> Self {
        Sender {
            bytes: VecDeque::new(),
            limit,
            segment_max,
            patience,
            acknowledged: 0,
            next: 0,
            is_end_sent: false,
            is_end_acknowledged: false,
            is_given_up: false,
            window_end: 0,
            ends: false,
            in_flight: VecDeque::new(),
            again_max: 0,
            wants_room: false,
            round_trip: Duration::ZERO,
            pause: RETRANSMISSION_PAUSE_MIN,
            again_at: None,
            unanswered_since: None,
        }
    }

    /// Bytes that are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.bytes.len())
    }

    /// Takes bytes; there is [room](Self::room).
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Somebody is to be told when there is room.
    pub(super) fn wait_for_room(&mut self) {
        self.wants_room = true;
    }

    /// Nothing comes behind what is there.
    pub(super) fn end(&mut self) {
        self.ends = true;
    }

    /// Whether all of it has arrived, the end too.
    pub(super) fn is_over(&self) -> bool {
        self.is_end_acknowledged
    }

    /// Nothing is sent any more.
    pub(super) fn give_up(&mut self) {
        self.bytes = VecDeque::new();
        self.in_flight.clear();
        (self.again_at, self.unanswered_since) = (None, None);
        self.is_given_up = true;
    }

    /// The number behind all that was sent, the end too.
    pub(super) fn sent(&self) -> u64 {
        self.next + u64::from(self.is_end_sent)
    }

    /// The number behind the last byte, which is that of the end.
    fn bytes_end(&self) -> u64 {
        self.acknowledged + self.bytes.len() as u64
    }

    /// Whether something was never sent.
    fn has_more(&self) -> bool {
        !self.is_given_up && (self.next < self.bytes_end() || (self.ends && !self.is_end_sent))
    }

    /// What may be sent now: called until there is nothing. `torn` makes a length shorter, or not.
    pub(super) fn segment(&mut self, now: Duration, torn: impl FnOnce(usize) -> usize) -> Option<Outgoing> {
        if self.again_max > 0
            && let Some(index) = self.in_flight.iter().position(|segment| segment.is_lost)
        {
            self.again_max -= 1;
            self.in_flight[index].is_lost = false;
            return Some(self.outgoing(now, index, true));
        }
        if !self.has_more() || self.in_flight.len() >= SEGMENTS_IN_FLIGHT_MAX {
            return None;
        }
        let left = (self.bytes_end() - self.next) as usize;
        let window = usize::try_from(self.window_end.saturating_sub(self.next)).unwrap_or(usize::MAX);
        let most = left.min(window).min(self.segment_max);
        if left > 0 && most == 0 {
            return None;
        }
        let len = if most == 0 { 0 } else { torn(most) };
        let is_last = self.ends && len == left;
        self.in_flight.push_back(Segment { at: self.next, len, is_last, is_lost: false });
        self.next += len as u64;
        self.is_end_sent |= is_last;
        Some(self.outgoing(now, self.in_flight.len() - 1, false))
    }

    fn outgoing(&mut self, now: Duration, index: usize, is_again: bool) -> Outgoing {
        self.unanswered_since.get_or_insert(now);
        self.again_at.get_or_insert(now.saturating_add(self.pause));
        let segment = &self.in_flight[index];
        let from = (segment.at - self.acknowledged) as usize;
        let to = from + segment.len;
        let (front, back) = self.bytes.as_slices();
        // By slices, as builds without optimisation iterate slowly.
        let mut bytes = Vec::with_capacity(segment.len);
        bytes.extend_from_slice(&front[from.min(front.len())..to.min(front.len())]);
        bytes.extend_from_slice(&back[from.saturating_sub(front.len())..to.saturating_sub(front.len())]);
        Outgoing { at: segment.at, bytes, is_last: segment.is_last, is_again }
    }

    /// The peer has said what arrived. Whether somebody waits for room, who has it now.
    pub(super) fn acknowledged(&mut self, now: Duration, news: Acknowledgement) -> bool {
        if self.is_given_up || news.next > self.next + u64::from(self.is_end_sent) {
            return false;
        }
        if let Some(sent) = news.echo {
            self.round_trip = now.saturating_sub(sent).max(self.round_trip * 7 / 8);
            self.pause = (self.round_trip * 2).clamp(RETRANSMISSION_PAUSE_MIN, RETRANSMISSION_PAUSE_MAX);
        }
        self.window_end = self.window_end.max(news.next.saturating_add(news.window as u64));
        let is_end = news.next > self.bytes_end();
        let next = news.next.clamp(self.acknowledged, self.bytes_end());
        let is_progress = next > self.acknowledged || (is_end && !self.is_end_acknowledged);
        if is_progress {
            self.bytes.drain(..(next - self.acknowledged) as usize);
            if self.bytes.is_empty() {
                self.bytes.shrink_to(BUFFER_MIN);
            }
            self.acknowledged = next;
            self.is_end_acknowledged |= is_end;
            while self.in_flight.front().is_some_and(|segment| segment.end() <= news.next) {
                self.in_flight.pop_front();
            }
            if let Some(front) = self.in_flight.front_mut().filter(|segment| segment.at < next) {
                front.len -= (next - front.at) as usize;
                front.at = next;
            }
            self.again_max = usize::MAX;
        }
        if is_progress || self.in_flight.is_empty() {
            let waits = !self.in_flight.is_empty();
            self.unanswered_since = waits.then_some(now);
            self.again_at = waits.then(|| now.saturating_add(self.pause));
        }
        let has_room = self.room() >= self.limit / 3;
        has_room && std::mem::take(&mut self.wants_room)
    }

    /// Called when nothing more can be sent: has a window that is closed asked for.
    pub(super) fn settle(&mut self, now: Duration) {
        if self.again_at.is_none() && self.has_more() {
            self.again_at = Some(now.saturating_add(self.pause));
        }
    }

    /// When [`due`](Self::due) is to be asked.
    pub(super) fn timer(&self) -> Option<Duration> {
        let gives_up = self.unanswered_since.map(|since| since.saturating_add(self.patience));
        match (self.again_at, gives_up) {
            (Some(again), Some(gives_up)) => Some(again.min(gives_up)),
            (one, other) => one.or(other),
        }
    }

    /// What is due.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        if self.unanswered_since.is_some_and(|since| now >= since.saturating_add(self.patience)) {
            return Due::GiveUp;
        }
        if self.again_at.is_none_or(|at| now < at) {
            return Due::Nothing;
        }
        self.pause = (self.pause * 2).min(RETRANSMISSION_PAUSE_MAX);
        self.again_at = Some(now.saturating_add(self.pause));
        self.unanswered_since.get_or_insert(now);
        if self.in_flight.is_empty() {
            return Due::Probe;
        }
        self.in_flight.iter_mut().for_each(|segment| segment.is_lost = true);
        self.again_max = 1;
        Due::Again
    }
}
