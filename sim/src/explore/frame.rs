//! What parent and child tell each other, as bytes on a socket of their own: nothing that a scenario prints gets there. Each
//! side sends one frame: a mark, the length, the fields.

use std::io::{self, Read, Write};
use std::time::Duration;

/// Begins each frame; its last byte is the format's version.
const MARK: [u8; 8] = *b"bobsim\0\x01";

/// The longest frame that is read: a trace of [`TRACE_BYTES_MAX`] and as much again for all else.
const FRAME_BYTES_MAX: u64 = 2 * TRACE_BYTES_MAX as u64;

/// How much of a trace a child hands over; of a longer one the middle is left out.
pub(super) const TRACE_BYTES_MAX: usize = 64 << 20;

/// How many plans a child tells of, and how many violations: more are left out.
const ENTRIES_MAX: usize = 10_000;

/// What a child is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) seed: u64,
    /// As [`Omit`](super::Omit) is written.
    pub(super) omit: String,
    pub(super) trace: Trace,
}

/// How much of the trace is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trace {
    /// None of it.
    Hash,
    Lines,
    /// Also who makes each step.
    Steps,
}

/// How a run has ended, as its child tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) trace_hash: u64,
    pub(super) steps: u64,
    pub(super) virtual_time: Duration,
    pub(super) violations: Vec<String>,
    /// Each of the scenario's plans with the number of elements it has when nothing is left out.
    pub(super) plans: Vec<(String, usize)>,
    /// Empty unless asked for.
    pub(super) trace: Vec<String>,
}

impl Request {
    pub(super) fn write(&self, to: impl Write) -> io::Result<()> {
        let mut fields = Writer::default();
        fields.number(self.seed);
        fields.text(&self.omit);
        fields.number(self.trace as u64);
        fields.send(to)
    }

    pub(super) fn read(from: impl Read) -> io::Result<Self> {
        receive(from, |fields| {
            Some(Self {
                seed: fields.number()?,
                omit: fields.text()?,
                trace: match fields.number()? {
                    0 => Trace::Hash,
                    1 => Trace::Lines,
                    2 => Trace::Steps,
                    _ => return None,
                },
            })
        })
    }
}

impl Reply {
    pub(super) fn write(&self, to: impl Write) -> io::Result<()> {
        let mut fields = Writer::default();
        fields.number(self.trace_hash);
        fields.number(self.steps);
        fields.number(u64::try_from(self.virtual_time.as_nanos()).unwrap_or(u64::MAX));
        let violations = &self.violations[..self.violations.len().min(ENTRIES_MAX)];
        fields.number(violations.len() as u64);
        violations.iter().for_each(|violation| fields.text(violation));
        let plans = &self.plans[..self.plans.len().min(ENTRIES_MAX)];
        fields.number(plans.len() as u64);
        for (name, count) in plans {
            fields.text(name);
            fields.number(*count as u64);
        }
        let (head, tail) = ends(&self.trace, TRACE_BYTES_MAX);
        let cut = tail.len() + head.len() < self.trace.len();
        fields.number((head.len() + usize::from(cut) + tail.len()) as u64);
        head.iter().for_each(|line| fields.text(line));
        if cut {
            fields.text("(the middle of the trace is left out: it is too long)");
        }
        tail.iter().for_each(|line| fields.text(line));
        fields.send(to)
    }

    pub(super) fn read(from: impl Read) -> io::Result<Self> {
        receive(from, |fields| {
            Some(Self {
                trace_hash: fields.number()?,
                steps: fields.number()?,
                virtual_time: Duration::from_nanos(fields.number()?),
                violations: fields.list(Reader::text)?,
                plans: fields
                    .list(|fields| Some((fields.text()?, usize::try_from(fields.number()?).ok()?)))?,
                trace: fields.list(Reader::text)?,
            })
        })
    }
}

/// As many lines of a trace's beginning and of its end as take no more than half of `bytes` each, as fields; all of them, in
/// two parts, if they fit.
fn ends(trace: &[String], bytes: usize) -> (&[String], &[String]) {
    let fitting = |lines: &mut dyn Iterator<Item = &String>| {
        let mut room = bytes / 2;
        let fits = |line: &&String| {
            let left = room.checked_sub(line.len() + LENGTH_BYTES);
            room = left.unwrap_or(0);
            left.is_some()
        };
        lines.take_while(fits).count()
    };
    let (head, rest) = trace.split_at(fitting(&mut trace.iter()));
    let tail = fitting(&mut rest.iter().rev());
    (head, &rest[rest.len() - tail..])
}

/// How long a number is, and thus what precedes a text.
const LENGTH_BYTES: usize = size_of::<u64>();

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn send(self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&MARK)?;
        to.write_all(&(self.bytes.len() as u64).to_le_bytes())?;
        to.write_all(&self.bytes)?;
        to.flush()
    }
}

/// Fields not read yet. Its methods return `None` where the bytes end too early or mean nothing.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.bytes.split_first_chunk::<LENGTH_BYTES>()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        // Each takes a length at least, so that the bytes bound the count.
        if count > (self.bytes.len() / LENGTH_BYTES) as u64 {
            return None;
        }
        (0..count).map(|_| one(self)).collect()
    }
}

/// Reads one frame and what its fields say.
fn receive<T>(mut from: impl Read, fields: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> io::Result<T> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut mark = [0; MARK.len()];
    from.read_exact(&mut mark)?;
    if mark != MARK {
        return Err(invalid("what came is not from a simulated run of this version"));
    }
    let mut length = [0; LENGTH_BYTES];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > FRAME_BYTES_MAX {
        return Err(invalid("a report that is too long"));
    }
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut reader = Reader { bytes: &bytes };
    match fields(&mut reader) {
        Some(value) if reader.bytes.is_empty() => Ok(value),
        _ => Err(invalid("a report with fields that make no sense")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> Reply {
        Reply {
            trace_hash: u64::MAX,
            steps: 12,
            virtual_time: Duration::from_nanos(3_000_000_007),
            violations: vec!["one\nwith two lines".to_owned(), String::new()],
            plans: vec![("adds".to_owned(), 40)],
            trace: vec!["a".to_owned(), "ä".to_owned()],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        reply().write(&mut bytes).unwrap();
        assert_eq!(Reply::read(&bytes[..]).unwrap(), reply());

        let request = Request { seed: 7, omit: "adds:1-3".to_owned(), trace: Trace::Steps };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        assert_eq!(Request::read(&bytes[..]).unwrap(), request);
    }

    #[test]
    fn a_frame_cut_short_or_changed_in_its_lengths_is_an_error() {
        let mut bytes = Vec::new();
        reply().write(&mut bytes).unwrap();
        for length in 0..bytes.len() {
            assert!(Reply::read(&bytes[..length]).is_err(), "{length} bytes of {}", bytes.len());
        }
        for changed in [0, 7, 8, 15, 40, 47] {
            let mut bytes = bytes.clone();
            bytes[changed] ^= 0x40;
            assert!(Reply::read(&bytes[..]).is_err(), "byte {changed}");
        }
    }

    #[test]
    fn of_a_trace_that_is_too_long_both_ends_are_kept() {
        let trace: Vec<String> = (0..100).map(|n| format!("{n:08}")).collect();
        let (head, tail) = ends(&trace, 10 * 16);
        assert_eq!((head, tail), (&trace[..5], &trace[95..]));
        let (head, tail) = ends(&trace, 200 * 16);
        assert_eq!((head.len(), tail.len()), (100, 0));
        let (head, tail) = ends(&trace, 100 * 16);
        assert_eq!((head.len(), tail.len()), (50, 50));
    }
}
