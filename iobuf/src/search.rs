//! Finding a byte string that may lie across several slices.
//!
//! Owns the matching. It must never copy payload, and takes time linear in the bytes looked at, whatever the
//! string is (Knuth, Morris and Pratt's automaton, with a vectorised search for the first byte in between).

use smallvec::SmallVec;

/// Needles up to this length need no allocation.
const SHORT_NEEDLE: usize = 32;

/// Position, counted over all slices, where the first occurrence of `needle` begins. None for an empty needle.
pub(crate) fn find<'a>(slices: impl Iterator<Item = &'a [u8]>, needle: &[u8]) -> Option<usize> {
    let (&first, rest) = needle.split_first()?;
    let mut base = 0;
    if rest.is_empty() {
        for slice in slices {
            if let Some(at) = memchr::memchr(first, slice) {
                return Some(base + at);
            }
            base += slice.len();
        }
        return None;
    }
    let borders = borders(needle);
    let mut matched = 0;
    for slice in slices {
        let mut at = 0;
        while at < slice.len() {
            if matched == 0 {
                match memchr::memchr(first, &slice[at..]) {
                    Some(skip) => at += skip + 1,
                    None => break,
                }
                matched = 1;
                continue;
            }
            let byte = slice[at];
            while matched > 0 && needle[matched] != byte {
                matched = borders[matched - 1];
            }
            if needle[matched] == byte {
                matched += 1;
            }
            at += 1;
            if matched == needle.len() {
                return Some(base + at - matched);
            }
        }
        base += slice.len();
    }
    None
}

/// For each prefix of `needle`, the length of its longest proper prefix that is also its suffix.
fn borders(needle: &[u8]) -> SmallVec<[usize; SHORT_NEEDLE]> {
    let mut borders: SmallVec<[usize; SHORT_NEEDLE]> = SmallVec::from_elem(0, needle.len());
    let mut border = 0;
    for at in 1..needle.len() {
        while border > 0 && needle[border] != needle[at] {
            border = borders[border - 1];
        }
        if needle[border] == needle[at] {
            border += 1;
        }
        borders[at] = border;
    }
    borders
}

#[cfg(test)]
mod tests {
    use super::find;

    /// Every way of cutting `text` in two and three slices finds what a plain search finds.
    fn check(text: &[u8], needle: &[u8]) {
        let expected = (!needle.is_empty())
            .then(|| text.windows(needle.len()).position(|window| window == needle))
            .flatten();
        for i in 0..=text.len() {
            for j in i..=text.len() {
                let slices = [&text[..i], &text[i..j], &text[j..]];
                assert_eq!(find(slices.into_iter(), needle), expected, "{i} {j}");
            }
        }
    }

    #[test]
    fn agrees_with_a_plain_search() {
        check(b"", b"a");
        check(b"abc", b"");
        check(b"abc", b"c");
        check(b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n");
        check(b"\r\r\n\r\n\r", b"\r\n\r\n");
        check(b"aaaaaaab", b"aaab");
        check(b"abababac", b"ababac");
        check(b"aabaabaaab", b"aabaaab");
        check(&[0xff, 0x80, 0xff, 0x80, 0x81], &[0xff, 0x80, 0x81]);
        check(b"0123456789abcdef", b"456789abcd");
        check(b"short", b"longer than the text");
    }
}
