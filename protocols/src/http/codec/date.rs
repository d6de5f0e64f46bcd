//! The `Date` line: made once a second by each thread that writes heads.

use std::cell::Cell;
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;

/// Length of a date: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) const DATE_LEN: usize = 29;

thread_local! {
    /// The second that the text is for, and the text. No reference to it is held beyond `now`.
    static CACHED: Cell<(u64, [u8; DATE_LEN])> = const { Cell::new((u64::MAX, [0; DATE_LEN])) };
}

/// The time now, as HTTP writes it (RFC 9110 §5.6.7).
pub(super) fn now() -> [u8; DATE_LEN] {
    // A clock before 1970 says 1970.
    let second = bthread::clock::wall().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    CACHED.with(|cached| {
        let (at, text) = cached.get();
        if at == second {
            return text;
        }
        let text = format(second);
        cached.set((second, text));
        text
    })
}

fn format(second: u64) -> [u8; DATE_LEN] {
    /// The last second that the form has room for: the end of the year 9999.
    const LAST: u64 = 253_402_300_799;
    let date = HttpDate::from(UNIX_EPOCH + Duration::from_secs(second.min(LAST))).to_string();
    let mut text = [b' '; DATE_LEN];
    text[..date.len().min(DATE_LEN)].copy_from_slice(&date.as_bytes()[..date.len().min(DATE_LEN)]);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_their_form() {
        assert_eq!(&format(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&format(u64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(now()[26..], *b"GMT");
    }
}
