//! The thread that dumps to files, from the moment a flag asks for it.
//!
//! A thread of the operating system, because this crate lies below the scheduler and files block.

use super::files;
use super::flags::{DUMP, DUMP_INTERVAL, MULTI_DUMP};
use crate::background;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// After a change of a flag others may follow, as on a command line: so long a dump waits for them.
const SETTLE: Duration = Duration::from_millis(50);

#[derive(Default)]
struct State {
    is_running: bool,
    /// Changes of flags.
    changes: u64,
    /// Dumps that are over.
    rounds: u64,
}

static STATE: Mutex<State> = Mutex::new(State { is_running: false, changes: 0, rounds: 0 });
static CHANGED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_wanted() -> bool {
    DUMP.get() || MULTI_DUMP.get()
}

/// A flag of the dump has changed: starts the thread if it is needed now, or has it dump early.
pub(super) fn wake() {
    let mut state = lock();
    state.changes += 1;
    if is_wanted() && !state.is_running && background::has_threads() {
        match thread::Builder::new().name("bvar_dumper".into()).spawn(run) {
            Ok(_) => state.is_running = true,
            Err(error) => eprintln!("cannot start the thread that dumps variables: {error}"),
        }
    }
    CHANGED.notify_all();
}

fn run() {
    let mut last_error = None;
    loop {
        let mut state = lock();
        while !is_wanted() {
            state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        thread::sleep(SETTLE);
        let seen = lock().changes;

        let error = dump().err().map(|error| error.to_string());
        if let Some(error) = error.as_ref().filter(|_| error != last_error) {
            // Once, not every ten seconds for ever.
            eprintln!("cannot dump variables: {error}");
        }
        last_error = error;

        let mut state = lock();
        state.rounds += 1;
        CHANGED.notify_all();
        let interval = Duration::from_secs(DUMP_INTERVAL.get().max(1) as u64);
        let next = Instant::now() + (interval - SETTLE);
        while state.changes == seen {
            let now = Instant::now();
            if now >= next {
                break;
            }
            let wait = CHANGED.wait_timeout(state, next - now);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn dump() -> io::Result<()> {
    if DUMP.get() {
        files::dump_to_files()?;
    }
    if MULTI_DUMP.get() {
        files::dump_multi_to_file()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::flags::{DUMP_FILE, DUMP_INCLUDE, DUMP_PREFIX, MULTI_DUMP_FILE, MULTI_DUMP_PREFIX};
    use crate::flag::find;
    use crate::{Adder, MultiDimension, Status, Variable};
    use std::fs;

    /// Waits until a dump that began after this call is over.
    fn next_dump() {
        let state = lock();
        // One may be running already.
        let enough = state.rounds + 2;
        drop(state);
        wake();
        let mut state = lock();
        while state.rounds < enough {
            if state.rounds + 1 == enough {
                state.changes += 1;
                CHANGED.notify_all();
            }
            state = CHANGED.wait(state).unwrap();
        }
    }

    /// The flags are those of the process, so one test has them all.
    #[test]
    fn the_flag_starts_a_thread_that_writes_each_tab_to_its_file() {
        let folder = std::env::temp_dir().join(format!("bvar_dump_{}", std::process::id()));
        let count = Adder::<i64>::new().expose("dump_files_test_count").unwrap();
        let _latency = Status::new(5i64).expose("dump_files_test_latency_99").unwrap();
        let _qps = Status::new(6i64).expose("dump_files_test_qps").unwrap();
        let _error = Status::new(7i64).expose("dump_files_test_error").unwrap();
        let _text =
            Status::new("two \"lines\"\r\n".to_owned()).expose("dump_files_test_process_cmdline").unwrap();
        let labelled = MultiDimension::<Adder<i64>>::new(&["method"]).unwrap();
        let labelled = labelled.expose("dump_files_test_multi").unwrap();
        labelled.get(&["a\"b\n"]).unwrap().add(4);

        DUMP_FILE.set(folder.join("deep/bvar.test.data").display().to_string()).unwrap();
        DUMP_PREFIX.set("MyApp".into()).unwrap();
        DUMP_INCLUDE.set("dump_files_test_*".into()).unwrap();
        MULTI_DUMP_FILE.set(folder.join("mbvar.data").display().to_string()).unwrap();
        MULTI_DUMP_PREFIX.set("MyApp".into()).unwrap();
        MULTI_DUMP.set(true).unwrap();
        find("bvar_dump").unwrap().set_text("true").unwrap();
        next_dump();

        let read =
            |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(read("deep/bvar.test.data"), "my_app_dump_files_test_count : 0\r\n");
        assert_eq!(read("deep/bvar.test.latency.data"), "my_app_dump_files_test_latency_99 : 5\r\n");
        assert_eq!(read("deep/bvar.test.qps.data"), "my_app_dump_files_test_qps : 6\r\n");
        assert_eq!(read("deep/bvar.test.error.data"), "my_app_dump_files_test_error : 7\r\n");
        let system = "my_app_dump_files_test_process_cmdline : \"two \\\"lines\\\"\\r\\n\"\r\n";
        assert_eq!(read("deep/bvar.test.system.data"), system);
        let multi = read("mbvar.data");
        assert!(multi.contains("my_app_dump_files_test_multi{method=\"a\\\"b\\n\"} : 4\r\n"), "{multi}");

        count.add(3);
        find("mbvar_dump_format").unwrap().set_text("prometheus").unwrap();
        drop(_qps);
        next_dump();
        assert_eq!(read("deep/bvar.test.data"), "my_app_dump_files_test_count : 3\r\n");
        assert!(read("mbvar.data").contains("my_app_dump_files_test_multi{method=\"a\\\"b\\n\"} 4\r\n"));
        let mut files: Vec<_> =
            fs::read_dir(folder.join("deep")).unwrap().map(|file| file.unwrap().file_name()).collect();
        files.sort();
        let left =
            ["bvar.test.data", "bvar.test.error.data", "bvar.test.latency.data", "bvar.test.system.data"];
        assert_eq!(files, left, "an empty file is removed, none is left over");

        find("bvar_dump").unwrap().set_text("false").unwrap();
        MULTI_DUMP.set(false).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        for wrong in [
            ("bvar_dump_tabs", "../x=*"),
            ("bvar_dump_interval", "0"),
            ("mbvar_dump_format", "xml"),
            // Not by name while the process runs, as a page would.
            ("bvar_dump_file", "other"),
            ("mbvar_dump_file", "other"),
        ] {
            assert!(crate::flag::set(wrong.0, wrong.1).is_err(), "{wrong:?}");
        }
    }
}
