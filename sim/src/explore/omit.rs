//! Which elements of a scenario's plans are left out, and the text form of it that goes into a command.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Elements of [`World::plan`](crate::World::plan) to leave out, by the plan's name and their numbers in it.
///
/// As text: `adds:0-3,7+faults:2` leaves out five elements of the plan `adds` and one of `faults`. It needs no quotes in a
/// shell: of names, all bytes but letters, digits and `_-./` are written as `%` and two hexadecimal digits.
///
/// ```
/// use sim::Omit;
///
/// let omit: Omit = "adds:0-3,7+faults:2".parse()?;
/// assert!(omit.contains("adds", 7) && !omit.contains("adds", 4));
/// assert_eq!(omit.len(), 6);
/// assert_eq!(omit.to_string(), "adds:0-3,7+faults:2");
/// # Ok::<(), sim::InvalidOmit>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Omit {
    plans: BTreeMap<String, BTreeSet<usize>>,
}

/// How many elements [`Omit`] can be read with: what no scenario comes near, so that a mistyped range does not fill the
/// memory.
const ELEMENTS_MAX: usize = 1 << 20;

impl Omit {
    /// Leaves nothing out.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves this one out as well.
    pub fn insert(&mut self, plan: &str, element: usize) {
        match self.plans.get_mut(plan) {
            Some(elements) => _ = elements.insert(element),
            None => _ = self.plans.insert(plan.to_owned(), BTreeSet::from([element])),
        }
    }

    /// Whether it is left out.
    pub fn contains(&self, plan: &str, element: usize) -> bool {
        self.plans.get(plan).is_some_and(|elements| elements.contains(&element))
    }

    /// Each element that is left out, by plan and number.
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize)> {
        self.plans
            .iter()
            .flat_map(|(plan, elements)| elements.iter().map(|&element| (plan.as_str(), element)))
    }

    /// How many are left out.
    pub fn len(&self) -> usize {
        self.plans.values().map(BTreeSet::len).sum()
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.plans.is_empty()
    }
}

impl<'a> FromIterator<(&'a str, usize)> for Omit {
    fn from_iter<I: IntoIterator<Item = (&'a str, usize)>>(elements: I) -> Self {
        let mut omit = Self::new();
        elements.into_iter().for_each(|(plan, element)| omit.insert(plan, element));
        omit
    }
}

impl fmt::Display for Omit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (plan, elements)) in self.plans.iter().enumerate() {
            f.write_str(if i == 0 { "" } else { "+" })?;
            write_name(f, plan)?;
            f.write_str(":")?;
            write_ranges(f, elements.iter().copied())?;
        }
        Ok(())
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    name.bytes().try_for_each(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/' => {
            write!(f, "{}", char::from(byte))
        }
        _ => write!(f, "%{byte:02X}"),
    })
}

/// Writes ascending numbers, those that follow each other as one range.
pub(super) fn write_ranges(
    f: &mut fmt::Formatter<'_>,
    numbers: impl IntoIterator<Item = usize>,
) -> fmt::Result {
    let mut numbers = numbers.into_iter().peekable();
    let mut separator = "";
    while let Some(first) = numbers.next() {
        let mut last = first;
        while let Some(next) = numbers.next_if(|&next| next == last + 1) {
            last = next;
        }
        match last - first {
            0 => write!(f, "{separator}{first}")?,
            _ => write!(f, "{separator}{first}-{last}")?,
        }
        separator = ",";
    }
    Ok(())
}

/// What is no [`Omit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOmit {
    part: String,
}

impl fmt::Display for InvalidOmit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no elements of a plan: it should look like adds:0-3,7+faults:2", self.part)
    }
}

impl std::error::Error for InvalidOmit {}

impl FromStr for Omit {
    type Err = InvalidOmit;

    fn from_str(text: &str) -> Result<Self, InvalidOmit> {
        let mut omit = Self::new();
        let mut room = ELEMENTS_MAX;
        for part in text.split('+').filter(|_| !text.is_empty()) {
            let invalid = || InvalidOmit { part: part.chars().take(80).collect() };
            let (name, ranges) = part.split_once(':').ok_or_else(invalid)?;
            let name = read_name(name).ok_or_else(invalid)?;
            for range in ranges.split(',') {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let first: usize = first.parse().map_err(|_| invalid())?;
                let last: usize = last.parse().map_err(|_| invalid())?;
                let count =
                    last.checked_sub(first).and_then(|count| count.checked_add(1)).ok_or_else(invalid)?;
                room = room.checked_sub(count).ok_or_else(invalid)?;
                (first..=last).for_each(|element| omit.insert(&name, element));
            }
        }
        Ok(omit)
    }
}

fn read_name(text: &str) -> Option<String> {
    let mut name = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    name.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_reads_back() {
        for omit in [
            Omit::new(),
            Omit::from_iter([("adds", 0)]),
            Omit::from_iter([("adds", 5), ("adds", 0), ("adds", 1), ("faults", 2), ("adds", 6), ("adds", 9)]),
            Omit::from_iter([("a plan: 100% + ümläut, x", 3), ("", 1), ("a/b-c_d.e", 0)]),
        ] {
            let text = omit.to_string();
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./:+,%".contains(&b)), "{text}");
            assert_eq!(text.parse(), Ok(omit), "{text}");
        }
        assert_eq!("adds:3,1-2,2".parse::<Omit>().unwrap().to_string(), "adds:1-3");
    }

    #[test]
    fn what_names_no_elements_is_refused() {
        let huge = format!("a:0-{}", usize::MAX);
        for text in [
            "x",
            "a:",
            "a:1+",
            "a:2-1",
            "a:-1",
            "a:1-",
            "%:1",
            "%4:1",
            "%+f:1",
            "a:1;b:2",
            "a:0-99999999",
            &huge,
        ] {
            assert!(text.parse::<Omit>().is_err(), "{text:?}");
        }
    }
}
