//! Flags of channels, under brpc's names (`spec/rpc-core.md` §27): their connections, and whether deadlines travel.

use std::time::Duration;

use bvar::flag::{self, Flag};

static POOL_SIZE: Flag<i32> = Flag::new(
    "max_connection_pool_size",
    100,
    "Unused connections that a pool keeps; more are closed when they come back",
)
.reloadable();
static IDLE_TIMEOUT: Flag<i32> = Flag::new(
    "idle_timeout_second",
    30,
    "Seconds after which an unused connection of a pool is closed; not above 0: never",
)
.reloadable();
static RESERVE_ONE: Flag<bool> = Flag::new(
    "reserve_one_idle_socket",
    false,
    "Whether a pool keeps one of its connections however long it is unused",
)
.reloadable();
static DEFER_CLOSE: Flag<i32> = Flag::new(
    "defer_close_second",
    0,
    "Seconds that connections are kept for another channel when the last one that used them has gone",
)
.reloadable();
static DEFER_RESPECTS_IDLE: Flag<bool> = Flag::new(
    "defer_close_respect_idle",
    false,
    "Whether the seconds of defer_close_second count from when something came on the connections",
)
.reloadable();
static CHECK_INTERVAL: Flag<i32> = Flag::new(
    "health_check_interval",
    3,
    "Most seconds between two tries to reach a server that was not there; not above 0: only calls try",
)
.reloadable();
static TIMEOUT_AS_UNREACHABLE: Flag<i32> = Flag::new(
    "connect_timeout_as_unreachable",
    3,
    "A server to which so many connections in a row were not made in time counts as not there",
)
.reloadable();

/// Whether servers are told how long their caller still waits, as long as nobody says otherwise. brpc's is off; here
/// deadlines travel with every call.
pub const DELIVER_TIMEOUT_DEFAULT: bool = true;

static DELIVER_TIMEOUT: Flag<bool> = Flag::new(
    "baidu_std_protocol_deliver_timeout_ms",
    DELIVER_TIMEOUT_DEFAULT,
    "Requests say how long their caller still waits, on protocols that carry it",
)
.reloadable();

/// The pause before the first try to reach a server that was not there; the next ones are twice as long each.
const FIRST_CHECK: Duration = Duration::from_millis(50);

/// Makes the flags of channels known among those of the process.
pub(crate) fn register_flags() {
    flag::register(&[
        &POOL_SIZE,
        &IDLE_TIMEOUT,
        &RESERVE_ONE,
        &DEFER_CLOSE,
        &DEFER_RESPECTS_IDLE,
        &CHECK_INTERVAL,
        &TIMEOUT_AS_UNREACHABLE,
        &DELIVER_TIMEOUT,
    ]);
}

pub(super) fn max_pool_size() -> usize {
    usize::try_from(POOL_SIZE.get()).unwrap_or(0)
}

/// `None`: unused connections are kept.
pub(super) fn idle_timeout() -> Option<Duration> {
    seconds(&IDLE_TIMEOUT)
}

pub(super) fn reserves_one() -> bool {
    RESERVE_ONE.get()
}

/// `None`: connections are closed with the last channel.
pub(super) fn deferral() -> Option<Duration> {
    seconds(&DEFER_CLOSE)
}

pub(super) fn deferral_respects_idle() -> bool {
    DEFER_RESPECTS_IDLE.get()
}

/// The pause after so many failed tries in a row; `None`: nobody tries but calls.
pub(super) fn check_pause(failures: u32) -> Option<Duration> {
    seconds(&CHECK_INTERVAL).map(|most| {
        let doubled = 2_u32.checked_pow(failures.saturating_sub(1));
        doubled.and_then(|times| FIRST_CHECK.checked_mul(times)).map_or(most, |pause| pause.min(most))
    })
}

pub(super) fn timeouts_as_unreachable() -> u32 {
    u32::try_from(TIMEOUT_AS_UNREACHABLE.get()).unwrap_or(0)
}

pub(super) fn delivers_timeout() -> bool {
    DELIVER_TIMEOUT.get()
}

fn seconds(flag: &Flag<i32>) -> Option<Duration> {
    u64::try_from(flag.get()).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_begin_soon_and_slow_down() {
        let pauses: Vec<_> =
            [1, 2, 3, 7, 40, u32::MAX].map(|failures| check_pause(failures).unwrap().as_millis()).into();
        assert_eq!(pauses, [50, 100, 200, 3000, 3000, 3000]);
    }
}
