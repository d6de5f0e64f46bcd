//! One side of a connection: where it is in the connection's life, its two halves, and when it has waited for long enough.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bthread::poller::Readiness;
use rpc::transport::SocketOptions;

use super::queue::Ticket;
use super::receiver::Receiver;
use super::sender::{RETRANSMISSION_TIME_MAX, Sender};
use super::signal::Signal;

/// Bytes that each direction of a side keeps where the options say nothing: written and not acknowledged, or arrived and
/// not read.
pub const BUFFER_DEFAULT: usize = 64 << 10;

/// The least that options can make of that.
pub const BUFFER_MIN: usize = 4 << 10;

/// The most that options can make of that.
pub const BUFFER_MAX: usize = 4 << 20;

/// The pause before the second SYN; it doubles each time.
const SYN_PAUSE: Duration = Duration::from_secs(1);

/// SYNs that follow the first one, after which connecting fails with `TimedOut`: 127 s after it began
/// (`tcp_syn_retries` of Linux).
const SYN_RETRIES: u32 = 6;

/// Answers to a SYN that follow the first one (`tcp_synack_retries`).
const SYN_ACK_RETRIES: u32 = 5;

/// For how long a side that its program has closed goes on without hearing of the peer, and then waits for the peer's end
/// (`tcp_fin_timeout`).
const CLOSED_TIME_MAX: Duration = Duration::from_secs(60);

/// What Linux takes where keepalive options say nothing.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(7200);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(75);
const KEEPALIVE_COUNT: u32 = 9;

/// Which side: the one that connected, or the one that accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// Names one side of one connection. `serial` tells apart what was there one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) connection: u64,
    pub(super) side: Side,
    pub(super) serial: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A SYN, or its answer, is to be answered.
    Opening {
        tries: u32,
        again_at: Duration,
    },
    Open,
    /// Over, with the system's code for why.
    Failed(i32),
}

/// Asks a silent peer whether it is there.
#[derive(Debug)]
struct Asking {
    idle: Duration,
    interval: Duration,
    count: u32,
    asked: u32,
    at: Duration,
}

/// What an endpoint has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    Nothing,
    /// Send the SYN or its answer again.
    OpenAgain,
    /// Send what the sender has.
    Send,
    Probe,
    /// End with that code.
    Fail(i32),
    /// Be forgotten.
    Vanish,
}

pub(super) struct Endpoint {
    pub(super) serial: u64,
    pub(super) node: Ipv4Addr,
    pub(super) peer: Ipv4Addr,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) phase: Phase,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// The program has ended both directions.
    pub(super) is_shut: bool,
    /// The program has no handle any more, and did since then.
    pub(super) closed_at: Option<Duration>,
    pub(super) signal: Option<Arc<dyn Signal>>,
    pub(super) ticket: Option<Ticket>,
    /// When what it sent last arrives: later packets do not overtake it.
    pub(super) last_arrival: Duration,
    begun: Duration,
    opens_until: Option<Duration>,
    side: Side,
    asking: Option<Box<Asking>>,
}

pub(super) struct NewEndpoint<'a> {
    pub(super) serial: u64,
    pub(super) side: Side,
    pub(super) local: (Ipv4Addr, u16),
    pub(super) remote: (Ipv4Addr, u16),
    pub(super) segment_max: usize,
    pub(super) options: &'a SocketOptions,
}

impl Endpoint {
    pub(super) fn new(now: Duration, new: NewEndpoint<'_>) -> Self {
        let NewEndpoint { serial, side, local, remote, segment_max, options } = new;
        let buffer = |size: Option<usize>| size.unwrap_or(BUFFER_DEFAULT).clamp(BUFFER_MIN, BUFFER_MAX);
        let patience = options.tcp_user_timeout.unwrap_or(RETRANSMISSION_TIME_MAX);
        let asking = options.keepalive.map(|keepalive| {
            let idle = keepalive.idle.unwrap_or(KEEPALIVE_IDLE);
            Box::new(Asking {
                idle,
                interval: keepalive.interval.unwrap_or(KEEPALIVE_INTERVAL),
                count: keepalive.count.unwrap_or(KEEPALIVE_COUNT),
                asked: 0,
                at: now.saturating_add(idle),
            })
        });
        Endpoint {
            serial,
            node: local.0,
            peer: remote.0,
            local: local.into(),
            remote: remote.into(),
            phase: Phase::Opening { tries: 0, again_at: now.saturating_add(SYN_PAUSE) },
            sender: Sender::new(buffer(options.send_buffer_size), segment_max, patience),
            receiver: Receiver::new(buffer(options.recv_buffer_size)),
            is_shut: false,
            closed_at: None,
            signal: None,
            ticket: None,
            last_arrival: Duration::ZERO,
            begun: now,
            opens_until: options.tcp_user_timeout.map(|timeout| now.saturating_add(timeout)),
            side,
            asking,
        }
    }

    /// What can be done now without waiting.
    pub(super) fn readiness(&self) -> Readiness {
        match self.phase {
            Phase::Opening { .. } => Readiness::new(false, false, false),
            Phase::Failed(_) => Readiness::new(true, true, true),
            Phase::Open => {
                let has_ended = self.receiver.has_ended() || self.is_shut;
                let is_readable = self.receiver.unread() > 0 || has_ended;
                Readiness::new(is_readable, self.sender.room() > 0 || self.is_shut, has_ended)
            }
        }
    }

    /// Tells whoever has registered.
    pub(super) fn raise(&self, readiness: Readiness) {
        if let Some(signal) = &self.signal {
            signal.raise(readiness);
        }
    }

    /// The peer is there.
    pub(super) fn heard(&mut self, now: Duration) {
        if self.closed_at.is_some() && !self.sender.is_over() {
            self.closed_at = Some(now);
        }
        if let Some(asking) = &mut self.asking {
            asking.asked = 0;
            asking.at = now.saturating_add(asking.idle);
        }
    }

    /// The peer's SYN has come again, and is answered: there is another while to hear of it, as with Linux.
    pub(super) fn asked_again(&mut self, now: Duration) {
        if let Phase::Opening { tries, again_at } = &mut self.phase {
            *again_at = now.saturating_add(SYN_PAUSE * (1 << *tries));
        }
    }

    /// It is over.
    pub(super) fn fail(&mut self, code: i32) {
        self.phase = Phase::Failed(code);
        self.sender.give_up();
        self.receiver.give_up();
        self.asking = None;
    }

    /// Whether there is nothing left to be done for anybody.
    pub(super) fn is_done(&self) -> bool {
        let is_over = match self.phase {
            Phase::Failed(_) => true,
            Phase::Opening { .. } => self.side == Side::Client,
            Phase::Open => self.sender.is_over() && self.receiver.has_ended(),
        };
        self.closed_at.is_some() && is_over
    }

    /// When [`due`](Self::due) is to be asked.
    pub(super) fn timer(&self) -> Option<Duration> {
        let closes = self.closed_at.map(|at| at.saturating_add(CLOSED_TIME_MAX));
        match self.phase {
            Phase::Failed(_) => None,
            Phase::Opening { again_at, .. } => {
                [Some(again_at), self.opens_until, closes].into_iter().flatten().min()
            }
            Phase::Open => {
                let asks = self.asking.as_ref().map(|asking| asking.at);
                [self.sender.timer(), asks, closes].into_iter().flatten().min()
            }
        }
    }

    /// What has to be done now, when the timer has gone off.
    pub(super) fn due(&mut self, now: Duration) -> Task {
        use super::sender::Due;
        if self.closed_at.is_some_and(|at| now >= at.saturating_add(CLOSED_TIME_MAX)) {
            return Task::Vanish;
        }
        match &mut self.phase {
            Phase::Failed(_) => Task::Nothing,
            Phase::Opening { tries, again_at } => {
                let most = if self.side == Side::Client { SYN_RETRIES } else { SYN_ACK_RETRIES };
                let is_late = self.opens_until.is_some_and(|until| now >= until);
                if now < *again_at && !is_late {
                    return Task::Nothing;
                }
                if *tries == most || is_late {
                    return if self.side == Side::Client {
                        Task::Fail(libc::ETIMEDOUT)
                    } else {
                        Task::Vanish
                    };
                }
                *tries += 1;
                *again_at = now.saturating_add(SYN_PAUSE * (1 << *tries));
                Task::OpenAgain
            }
            Phase::Open => match self.sender.due(now) {
                Due::GiveUp => Task::Fail(libc::ETIMEDOUT),
                Due::Again => Task::Send,
                Due::Probe => Task::Probe,
                Due::Nothing => self.ask(now),
            },
        }
    }

    fn ask(&mut self, now: Duration) -> Task {
        let Some(asking) = self.asking.as_mut().filter(|asking| now >= asking.at) else {
            return Task::Nothing;
        };
        if asking.asked >= asking.count {
            return Task::Fail(libc::ETIMEDOUT);
        }
        asking.asked += 1;
        asking.at = now.saturating_add(asking.interval);
        Task::Probe
    }

    /// How long it has been there.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.begun)
    }
}
