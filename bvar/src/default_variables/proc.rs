//! What the kernel says about this process and the machine: the files of `/proc` and `getrusage`, read at most
//! every 100 ms.
//!
//! Must never fail: what cannot be read (no `/proc`, no permission) counts as 0.

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::unistd::{SysconfVar, sysconf};
use std::fs;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// How old a value may be before it is read again.
const MAX_AGE: Duration = Duration::from_millis(100);

/// A value that is read again when it is asked for and older than [`MAX_AGE`].
pub(super) struct Cached<T> {
    last: Mutex<Option<(Instant, T)>>,
    read: fn() -> T,
}

impl<T: Copy> Cached<T> {
    pub(super) const fn new(read: fn() -> T) -> Self {
        Cached { last: Mutex::new(None), read }
    }

    /// *Blocking:* the thread, while one of `/proc`'s files is read.
    pub(super) fn get(&self) -> T {
        // Held while reading, so that many readers at once read the files once.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((at, value)) if at.elapsed() < MAX_AGE => value,
            _ => {
                let value = (self.read)();
                *last = Some((Instant::now(), value));
                value
            }
        }
    }
}

/// `/proc/self/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Stat {
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    pub(super) priority: i64,
    pub(super) nice: i64,
    pub(super) threads: u64,
    /// Ticks between the start of the machine and of the process.
    start_ticks: u64,
}

impl Stat {
    /// The fields behind the name of the program, which may hold anything, a `)` too.
    fn parse(text: &str) -> Option<Stat> {
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        // proc(5) counts fields from 1 and the state, our first, is its third.
        let field = |number: usize| fields.get(number - 3);
        Some(Stat {
            minor_faults: field(10)?.parse().ok()?,
            major_faults: field(12)?.parse().ok()?,
            priority: field(18)?.parse().ok()?,
            nice: field(19)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
            start_ticks: field(22)?.parse().ok()?,
        })
    }
}

/// `/proc/self/statm`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) resident: u64,
    pub(super) shared: u64,
    pub(super) text: u64,
    pub(super) data_and_stack: u64,
}

impl Memory {
    fn parse(text: &str, page_size: u64) -> Option<Memory> {
        let pages: Vec<u64> = text.split_ascii_whitespace().map_while(|pages| pages.parse().ok()).collect();
        let [total, resident, shared, text, _library, data_and_stack, ..] =
            *pages.iter().map(|pages| pages * page_size).collect::<Vec<_>>()
        else {
            return None;
        };
        Some(Memory { total, resident, shared, text, data_and_stack })
    }
}

/// `/proc/self/io`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Io {
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) disk_read_bytes: u64,
    pub(super) disk_written_bytes: u64,
}

impl Io {
    fn parse(text: &str) -> Io {
        let field = |name: &str| {
            let values = text.lines().filter_map(|line| line.split_once(':'));
            let mut values = values.filter(|(field, _)| *field == name);
            values.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
        };
        Io {
            read_bytes: field("rchar"),
            written_bytes: field("wchar"),
            reads: field("syscr"),
            writes: field("syscw"),
            disk_read_bytes: field("read_bytes"),
            disk_written_bytes: field("write_bytes"),
        }
    }
}

/// `getrusage` of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Resources {
    pub(super) user_seconds: f64,
    pub(super) system_seconds: f64,
    pub(super) blocks_in: u64,
    pub(super) blocks_out: u64,
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
}

impl Resources {
    fn of(usage: &Usage) -> Resources {
        let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        Resources {
            user_seconds: seconds(usage.user_time()),
            system_seconds: seconds(usage.system_time()),
            blocks_in: usage.block_reads().max(0) as u64,
            blocks_out: usage.block_writes().max(0) as u64,
            voluntary_switches: usage.voluntary_context_switches().max(0) as u64,
            involuntary_switches: usage.involuntary_context_switches().max(0) as u64,
        }
    }
}

/// The three averages of `/proc/loadavg`.
fn parse_load(text: &str) -> Option<[f64; 3]> {
    let mut averages = text.split_ascii_whitespace().map_while(|average| average.parse().ok());
    Some([averages.next()?, averages.next()?, averages.next()?])
}

fn file(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn system_value(variable: SysconfVar) -> u64 {
    sysconf(variable).ok().flatten().and_then(|value| u64::try_from(value).ok()).unwrap_or(0)
}

pub(super) static STAT: Cached<Stat> =
    Cached::new(|| Stat::parse(&file("/proc/self/stat")).unwrap_or_default());
pub(super) static MEMORY: Cached<Memory> = Cached::new(|| {
    Memory::parse(&file("/proc/self/statm"), system_value(SysconfVar::PAGE_SIZE)).unwrap_or_default()
});
pub(super) static IO: Cached<Io> = Cached::new(|| Io::parse(&file("/proc/self/io")));
pub(super) static RESOURCES: Cached<Resources> =
    Cached::new(|| getrusage(UsageWho::RUSAGE_SELF).map(|usage| Resources::of(&usage)).unwrap_or_default());
pub(super) static LOAD: Cached<[f64; 3]> =
    Cached::new(|| parse_load(&file("/proc/loadavg")).unwrap_or_default());
pub(super) static OPEN_FILES: Cached<usize> = Cached::new(|| count_open_files(MAX_COUNTED_FILES));

/// The most open files that are counted one by one; a process with more is told as having this many.
pub(super) const MAX_COUNTED_FILES: usize = 10_000;

fn count_open_files(limit: usize) -> usize {
    // The descriptor that reads the folder is in it.
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.take(limit + 1).count().saturating_sub(1))
}

/// How long the process has been running; since now, if the kernel does not tell.
pub(super) fn age() -> Duration {
    let ticks_per_second = system_value(SysconfVar::CLK_TCK).max(1);
    let since_boot = file("/proc/uptime").split_ascii_whitespace().next().and_then(|s| s.parse::<f64>().ok());
    let started = STAT.get().start_ticks as f64 / ticks_per_second as f64;
    let seconds = since_boot.map_or(0.0, |since_boot| (since_boot - started).max(0.0));
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The arguments of the process, one space between them.
pub(super) fn command_line() -> String {
    /// Of the command line, this much is shown.
    const MAX_BYTES: usize = 4096;
    let bytes = fs::read("/proc/self/cmdline").unwrap_or_default();
    let shown = &bytes[..bytes.len().min(MAX_BYTES)];
    let words = shown.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_of_a_program_with_a_hostile_name() {
        let text = "4341 (a) R 1 (b) S 4243 4243 9500 0 -1 4194304 99 2 7 3 0 0 0 0 20 -5 12 0 2352110 3133440 421\n";
        let stat = Stat::parse(text).unwrap();
        let expected = Stat {
            minor_faults: 99,
            major_faults: 7,
            priority: 20,
            nice: -5,
            threads: 12,
            start_ticks: 2352110,
        };
        assert_eq!(stat, expected);
        assert_eq!((Stat::parse(""), Stat::parse("1 (a) R 1 2"), Stat::parse("1 (a")), (None, None, None));
    }

    #[test]
    fn memory_io_and_load() {
        let memory = Memory::parse("765 446 417 5 0 123 0\n", 4096).unwrap();
        assert_eq!((memory.total, memory.resident, memory.shared), (765 * 4096, 446 * 4096, 417 * 4096));
        assert_eq!((memory.text, memory.data_and_stack), (5 * 4096, 123 * 4096));
        assert_eq!(Memory::parse("1 2 3", 4096), None);
        let io = "rchar: 6976\nwchar: 1\nsyscr: 10\nsyscw: 2\nread_bytes: 3\nwrite_bytes: 4\ncancelled_write_bytes: 9\n";
        let expected = Io {
            read_bytes: 6976,
            written_bytes: 1,
            reads: 10,
            writes: 2,
            disk_read_bytes: 3,
            disk_written_bytes: 4,
        };
        assert_eq!((Io::parse(io), Io::parse("")), (expected, Io::default()));
        assert_eq!(parse_load("7.38 4.56 2.57 8/154 4340\n"), Some([7.38, 4.56, 2.57]));
        assert_eq!(parse_load("7.38"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let (stat, memory, resources) = (STAT.get(), MEMORY.get(), RESOURCES.get());
        assert!(stat.threads >= 1 && stat.start_ticks > 0, "{stat:?}");
        assert!(memory.total >= memory.resident && memory.resident > 0 && memory.text > 0, "{memory:?}");
        assert!(resources.user_seconds + resources.system_seconds > 0.0, "{resources:?}");
        assert!(IO.get().reads > 0);
        assert!((1..MAX_COUNTED_FILES).contains(&OPEN_FILES.get()));
        assert!(count_open_files(2) == 2, "the count stops at its limit");
        assert!(!command_line().is_empty());
        assert!(age() < Duration::from_secs(24 * 3600));
    }

    #[test]
    fn values_are_kept_for_a_while() {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static READS: AtomicU32 = AtomicU32::new(0);
        // Relaxed: one thread.
        static CACHED: Cached<u32> = Cached::new(|| READS.fetch_add(1, Relaxed));
        assert_eq!(CACHED.get(), 0);
        *CACHED.last.lock().unwrap() = Some((Instant::now() + MAX_AGE, 5));
        assert_eq!(CACHED.get(), 5, "not read again");
        *CACHED.last.lock().unwrap() = Instant::now().checked_sub(2 * MAX_AGE).map(|at| (at, 5));
        assert_eq!(CACHED.get(), 1, "read again");
    }
}
