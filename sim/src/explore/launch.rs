//! The parent's side of one run: starts a child process for it, waits for its report as long as it may take, and says how
//! it has ended, however that was.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::environment;
use super::frame::{Reply, Request};

/// How much is kept of what a child writes to its standard error: its end.
const STDERR_BYTES_MAX: usize = 8 << 10;

/// How long a child may take to exit after its report.
const EXIT_LIMIT: Duration = Duration::from_secs(5);

/// How long the reader of a child's standard error waits before it looks whether the child is gone.
const STDERR_WAIT: Duration = Duration::from_millis(50);

/// How long it goes on after that, should something else write there that the child has started.
const STDERR_REST: Duration = Duration::from_secs(1);

/// Children that run now, of all explorations of this process: a test binary has several at a time.
static RUNNING: Mutex<usize> = Mutex::new(0);

/// Told when there is one less.
static ENDED: Condvar = Condvar::new();

/// How children are started.
#[derive(Clone, Debug)]
pub(super) struct Launcher {
    pub(super) executable: PathBuf,
    pub(super) arguments: Vec<OsString>,
    /// Which of its explorations the child is to take the run for.
    pub(super) exploration: usize,
    /// How long one run may take.
    pub(super) run_limit: Duration,
    /// None is started while so many run, whoever has started them.
    pub(super) jobs: usize,
}

/// What becomes of what a child prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Dropped, but for the end of its standard error, which is kept in case that it dies.
    Kept,
    /// It goes where the parent's goes.
    Shown,
}

/// How a child has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a report, good or bad.
    Reported(Reply),
    /// Without one.
    Died { how: String, stderr: String },
    /// Not within [`Launcher::run_limit`], so that it was killed.
    Hung { after: Duration, stderr: String },
}

impl Launcher {
    /// Runs one seed in a process of its own. *Blocking*: blocks the thread until there is room for it and it has ended.
    ///
    /// # Errors
    /// The system's, if no process can be started.
    pub(super) fn run(&self, request: &Request, output: Output) -> io::Result<Ended> {
        let _slot = Slot::wait_for(self.jobs);
        let deadline = Instant::now() + self.run_limit;
        let (reports, childs_reports) = UnixStream::pair()?;
        let mut command = Command::new(&self.executable);
        command.args(&self.arguments).stdin(Stdio::from(OwnedFd::from(childs_reports)));
        environment::for_child(&mut command, self.exploration);
        let stderr = match output {
            Output::Kept => {
                let (stderr, childs_stderr) = UnixStream::pair()?;
                command.stdout(Stdio::null()).stderr(Stdio::from(OwnedFd::from(childs_stderr)));
                Some(stderr)
            }
            Output::Shown => None,
        };
        let child = command.spawn()?;
        // It holds the child's ends, which would keep the streams from ending.
        drop(command);
        let gone = AtomicBool::new(false);
        thread::scope(|scope| {
            let tail = stderr.map(|stderr| scope.spawn(|| read_tail(stderr, &gone)));
            let result = watch(child, reports, request, deadline);
            gone.store(true, Ordering::Release); // with the Acquire in read_tail
            let stderr = tail.map_or_else(String::new, |tail| tail.join().unwrap_or_default());
            Ok(match result? {
                (Ok(reply), _) => Ended::Reported(reply),
                (Err(error), _) if error.kind() == io::ErrorKind::TimedOut => {
                    Ended::Hung { after: self.run_limit, stderr }
                }
                (Err(error), status) => Ended::Died { how: how_it_died(&error, status), stderr },
            })
        })
    }
}

/// One child's place among those that run.
struct Slot;

impl Slot {
    fn wait_for(jobs: usize) -> Self {
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = ENDED.wait_while(running, |running| *running >= jobs.max(1));
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        // Those who wait have bounds of their own, so that the first to wake up may have to wait on.
        ENDED.notify_all();
    }
}

fn how_it_died(error: &io::Error, status: ExitStatus) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof if status.success() => {
            "it exited without having come to the exploration that it was started for: a test on a thread of its own \
             names itself with Explorer::test"
                .to_owned()
        }
        io::ErrorKind::UnexpectedEof => status.to_string(),
        _ => format!("{error} ({status})"),
    }
}

/// Asks for a run and waits for its report, then for the child's end, which it brings about where need be.
fn watch(
    mut child: Child,
    reports: UnixStream,
    request: &Request,
    deadline: Instant,
) -> io::Result<(io::Result<Reply>, ExitStatus)> {
    let mut reports = Until { stream: reports, deadline };
    let reply = ask(&mut reports, request);
    reports.deadline = match reply {
        Ok(_) => Instant::now() + EXIT_LIMIT,
        Err(_) => deadline,
    };
    // The stream ends with the process.
    if reply.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::UnexpectedEof)
        || !matches!(reports.read(&mut [0]), Ok(0))
    {
        child.kill()?;
    }
    Ok((reply, child.wait()?))
}

fn ask(reports: &mut Until, request: &Request) -> io::Result<Reply> {
    reports.stream.set_write_timeout(Some(reports.left()?))?;
    match request.write(&reports.stream) {
        // It has died before it has read all; the end of the stream will tell.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
        result => result?,
    }
    match Reply::read(&mut *reports) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
        result => result,
    }
}

/// A stream that is read until a deadline, and then fails with `TimedOut`.
struct Until {
    stream: UnixStream,
    deadline: Instant,
}

impl Until {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        match self.stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            result => result,
        }
    }
}

/// The end of what comes, until the stream ends or, if something else holds it open, until nothing comes any more once
/// the child is gone, or too much.
fn read_tail(mut stream: UnixStream, gone: &AtomicBool) -> String {
    let mut tail = Vec::new();
    let mut buffer = [0; 4096];
    if stream.set_read_timeout(Some(STDERR_WAIT)).is_err() {
        return String::new();
    }
    let mut ends = None;
    loop {
        // With the Release of whoever has waited for the child.
        let is_gone = gone.load(Ordering::Acquire);
        if is_gone && Instant::now() > *ends.get_or_insert_with(|| Instant::now() + STDERR_REST) {
            break;
        }
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => tail.extend_from_slice(&buffer[..bytes]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_gone => {}
            Err(_) => break,
        }
        let excess = tail.len().saturating_sub(STDERR_BYTES_MAX);
        tail.drain(..excess);
    }
    String::from_utf8_lossy(&tail).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::frame::Trace;
    use super::*;

    const REQUEST: Request = Request { seed: 1, omit: String::new(), trace: Trace::Hash };

    fn shell(script: &str, run_limit: Duration) -> Ended {
        let arguments = ["-c", script].map(OsString::from).to_vec();
        let launcher =
            Launcher { executable: "/bin/sh".into(), arguments, exploration: 0, run_limit, jobs: 8 };
        launcher.run(&REQUEST, Output::Kept).unwrap()
    }

    #[test]
    fn a_child_that_dies_is_told_by_its_status_and_its_last_words() {
        let ended = shell("echo out; echo oh >&2; kill -9 $$", Duration::from_secs(60));
        let Ended::Died { how, stderr } = ended else { panic!("{ended:?}") };
        assert!(how.contains("signal: 9"), "{how}");
        assert_eq!(stderr, "oh");
        let ended = shell("exit 3", Duration::from_secs(60));
        assert_eq!(ended, Ended::Died { how: "exit status: 3".to_owned(), stderr: String::new() });
        let ended = shell("exit 0", Duration::from_secs(60));
        assert!(
            matches!(&ended, Ended::Died { how, .. } if how.contains("without having come")),
            "{ended:?}"
        );
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let limit = Duration::from_millis(300);
        let ended = shell("echo waiting >&2; exec sleep 1000", limit);
        assert_eq!(ended, Ended::Hung { after: limit, stderr: "waiting".to_owned() });
    }

    #[test]
    fn what_a_child_leaves_behind_is_not_waited_for() {
        let ended = shell("(while :; do echo still here; done) >&2 & exit 3", Duration::from_secs(60));
        let Ended::Died { how, stderr } = ended else { panic!("{ended:?}") };
        assert_eq!(how, "exit status: 3");
        assert!(stderr.len() <= STDERR_BYTES_MAX);
    }

    #[test]
    fn what_is_no_report_is_not_taken_for_one() {
        let ended = shell("echo bobsim and more >&0; cat <&0 >/dev/null", Duration::from_secs(60));
        let Ended::Died { how, .. } = ended else { panic!("{ended:?}") };
        assert!(how.contains("not from a simulated run"), "{how}");
    }

    #[test]
    fn of_much_that_a_child_says_the_end_is_kept() {
        let ended = shell("for i in $(seq 100000); do echo $i; done >&2; exit 1", Duration::from_secs(60));
        let Ended::Died { stderr, .. } = ended else { panic!("{ended:?}") };
        assert!(stderr.ends_with("\n99999\n100000") && stderr.len() <= STDERR_BYTES_MAX);
    }
}
