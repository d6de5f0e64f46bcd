//! Times as pages show them: local, as brpc prints them.

use std::time::{Duration, SystemTime};

use crate::span;

/// `2026/11/22-12:56:15.000949`, local time.
pub(crate) fn stamp(time: SystemTime) -> String {
    span::date_and_time(time)
}

/// `2026/11/22-12:56:15`, local time.
pub(crate) fn second(time: SystemTime) -> String {
    let mut text = stamp(time);
    text.truncate(text.len() - ".000949".len());
    text
}

/// A length of time that a person can read: `1.5s`, `320ms`, `2h13m`.
pub(crate) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time < Duration::from_micros(1) => "0".to_owned(),
        0 if time < Duration::from_millis(1) => format!("{}us", time.as_micros()),
        0 => format!("{}ms", time.as_millis()),
        1..60 => format!("{:.1}s", time.as_secs_f64()),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_brpcs_shape() {
        let text = stamp(SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 949_000));
        assert_eq!(text.len(), "2026/11/22-12:56:15.000949".len());
        assert!(text.ends_with(".000949") && text.as_bytes()[10] == b'-', "{text}");
        assert_eq!(second(SystemTime::UNIX_EPOCH).len(), "1970/01/01-00:00:00".len());
    }

    #[test]
    fn lengths_are_short() {
        let cases = [
            (0, "0"),
            (5_000, "5us"),
            (7_000_000, "7ms"),
            (1_500_000_000, "1.5s"),
            (61_000_000_000, "1m1s"),
            (7_980_000_000_000, "2h13m"),
            (90_000_000_000_000, "1d1h"),
        ];
        for (nanos, text) in cases {
            assert_eq!(length(Duration::from_nanos(nanos)), text);
        }
    }
}
