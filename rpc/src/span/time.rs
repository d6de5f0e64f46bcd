//! Times as the pages show and take them: local time, in brpc's form.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// The fraction of a second that is meant where none is given: the last microsecond.
const MICROS_LAST: i32 = 999_999;

fn local(time: SystemTime) -> DateTime {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::MAX);
    TimeZone::system().to_datetime(time)
}

/// `2026/11/22-12:56:15.000949`.
pub(crate) fn date_and_time(time: SystemTime) -> String {
    local(time).strftime("%Y/%m/%d-%H:%M:%S.%6f").to_string()
}

/// `12:56:15.000949`.
pub(super) fn time_of_day(time: SystemTime) -> String {
    local(time).strftime("%H:%M:%S.%6f").to_string()
}

/// Reads `2026/11/22-12:56:15.000949` or `12:56:15.000949`, which is of today. Without a fraction the whole second is
/// meant.
pub(super) fn parse(text: &str, now: SystemTime) -> Option<SystemTime> {
    let (date, clock) = match text.split_once('-') {
        Some((date, clock)) => {
            let mut parts = date.split('/');
            let date = Date::new(
                number(parts.next()?, 4)?.try_into().ok()?,
                number(parts.next()?, 2)?.try_into().ok()?,
                number(parts.next()?, 2)?.try_into().ok()?,
            );
            (date.ok().filter(|_| parts.next().is_none())?, clock)
        }
        None => (local(now).date(), text),
    };
    let (clock, micros) = match clock.split_once('.') {
        Some((clock, fraction)) => {
            let digits = u32::try_from(fraction.len()).ok()?;
            (clock, number(fraction, 6)? * 10_i32.pow(6 - digits))
        }
        None => (clock, MICROS_LAST),
    };
    let mut parts = clock.split(':');
    let mut two = || number(parts.next()?, 2)?.try_into().ok();
    let time = Time::new(two()?, two()?, two()?, micros * 1000).ok().filter(|_| parts.next().is_none())?;
    let zoned = DateTime::from_parts(date, time).to_zoned(TimeZone::system()).ok()?;
    Some(zoned.timestamp().into())
}

fn number(text: &str, digits_max: usize) -> Option<i32> {
    let fits = !text.is_empty() && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn both_forms_are_read() {
        let time = parse("2026/11/22-12:56:15.000949", UNIX_EPOCH).unwrap();
        assert_eq!(date_and_time(time), "2026/11/22-12:56:15.000949");
        assert_eq!(parse("12:56:15.000949", time), Some(time));
        let whole = parse("12:56:15", time).unwrap();
        assert_eq!(time_of_day(whole), "12:56:15.999999");
        assert_eq!(parse("12:56:15.5", time).map(time_of_day).unwrap(), "12:56:15.500000");
    }

    #[test]
    fn what_is_no_time_is_none() {
        let texts = [
            "",
            "-",
            "12:56",
            "12:56:15:16",
            "25:00:00",
            "2026/13/01-00:00:00",
            "2026/1/1/1-00:00:00",
            "a:b:c",
            "+1:00:00",
            "12:56:15.",
            "12:56:15.1234567",
            "12:61:00",
            "2026/02/30-00:00:00",
        ];
        for text in texts {
            assert_eq!(parse(text, UNIX_EPOCH), None, "{text}");
        }
    }

    proptest! {
        /// In a zone with summer time one hour of the year is there twice; the tests' zone is the machine's.
        #[test]
        fn times_survive_the_text(micros in 0u64..4_000_000_000_000_000) {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            let again = parse(&date_and_time(time), UNIX_EPOCH).unwrap();
            let off = again.duration_since(time).unwrap_or_else(|error| error.duration());
            prop_assert!(off == Duration::ZERO || off == Duration::from_secs(3600));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}|[0-9/:.-]{0,30}") {
            let _ = parse(&text, UNIX_EPOCH);
        }
    }
}
