//! What the user decides about the debug pages. Plain values; everything else is up to the pages.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bvar::flag::{self, Flag};

static ENABLE_DIR: Flag<bool> = Flag::new(
    "enable_dir_service",
    false,
    "Show all files that this process may read at /dir, whatever the builders say",
);
static ENABLE_THREADS: Flag<bool> = Flag::new(
    "enable_threads_service",
    false,
    "Show the stacks of threads at /threads, whatever the builders say",
);
static IMMUTABLE: Flag<bool> =
    Flag::new("immutable_flags", false, "Let no page change a flag, whatever the builders say");

/// Makes the flags known.
pub(super) fn register_flags() {
    flag::register(&[&ENABLE_DIR, &ENABLE_THREADS, &IMMUTABLE]);
}

/// How a server feels, as `/health` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The HTTP status: 200 when it is well.
    pub status: u16,
    /// One line or more of text.
    pub text: String,
}

/// Asked by `/health`, in the bthread of the connection, which it may block.
pub(crate) type HealthReporter = Arc<dyn Fn() -> Health + Send + Sync>;

/// Decides about the debug pages of a server. The default: they are there, for this machine only; nobody else changes
/// anything; no files and no threads are shown.
#[derive(Clone, Default)]
pub struct PageOptions {
    off: bool,
    open: bool,
    token: Option<String>,
    dir_root: Option<PathBuf>,
    threads: bool,
    immutable_flags: bool,
    health: Option<HealthReporter>,
}

impl PageOptions {
    /// The default.
    pub fn new() -> PageOptions {
        PageOptions::default()
    }

    /// No pages at all (brpc: `has_builtin_services` false).
    pub fn off(mut self) -> PageOptions {
        self.off = true;
        self
    }

    /// Lets every machine that reaches the port see the pages. They tell much about a program and its users.
    pub fn open_to_all(mut self) -> PageOptions {
        self.open = true;
        self
    }

    /// Takes changes (of flags, say) from other machines, through the internal port, and under names that are not
    /// loopback, when they bring this token. An empty one is none.
    pub fn token(mut self, token: impl Into<String>) -> PageOptions {
        self.token = Some(token.into()).filter(|token| !token.is_empty());
        self
    }

    /// Shows the files below this folder at `/dir`. The flag `enable_dir_service` shows all files there are.
    pub fn dir(mut self, root: impl Into<PathBuf>) -> PageOptions {
        self.dir_root = Some(root.into());
        self
    }

    /// Shows the stacks of the process's threads at `/threads`. So does the flag `enable_threads_service`.
    pub fn threads(mut self) -> PageOptions {
        self.threads = true;
        self
    }

    /// Flags are seen and not changed. So does the flag `immutable_flags`.
    pub fn immutable_flags(mut self) -> PageOptions {
        self.immutable_flags = true;
        self
    }

    /// Has `/health` ask `reporter` (brpc: `health_reporter`). Everybody who reaches the port may read what it says. It
    /// runs in the bthread of the connection that asks, and may park it; a panic in it ends that request.
    pub fn health(mut self, reporter: impl Fn() -> Health + Send + Sync + 'static) -> PageOptions {
        self.health = Some(Arc::new(reporter));
        self
    }

    pub(crate) fn is_off(&self) -> bool {
        self.off
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn secret(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(crate) fn dir_root(&self) -> Option<&Path> {
        let all = || ENABLE_DIR.get().then_some(Path::new("/"));
        self.dir_root.as_deref().or_else(all)
    }

    pub(crate) fn shows_threads(&self) -> bool {
        self.threads || ENABLE_THREADS.get()
    }

    pub(crate) fn has_immutable_flags(&self) -> bool {
        self.immutable_flags || IMMUTABLE.get()
    }

    pub(crate) fn reporter(&self) -> Option<&HealthReporter> {
        self.health.as_ref()
    }
}

/// Leaves the token out.
impl fmt::Debug for PageOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageOptions")
            .field("off", &self.off)
            .field("open", &self.open)
            .field("has_token", &self.token.is_some())
            .field("dir_root", &self.dir_root)
            .field("threads", &self.threads)
            .field("immutable_flags", &self.immutable_flags)
            .finish_non_exhaustive()
    }
}
