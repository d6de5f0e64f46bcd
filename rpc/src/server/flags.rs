//! The flags that decide where the builder of a server does not say (`spec/rpc-core.md` §27), and how a process quits.

use bvar::flag::{self, Flag};

static USERCODE_IN_PTHREAD: Flag<bool> =
    Flag::new("usercode_in_pthread", false, "Run the code of services on threads that may block");
static QUIT_ON_SIGTERM: Flag<bool> =
    Flag::new("graceful_quit_on_sigterm", true, "Quit in order when SIGTERM comes, as for SIGINT");
static QUIT_ON_SIGHUP: Flag<bool> =
    Flag::new("graceful_quit_on_sighup", false, "Quit in order when SIGHUP comes, as for SIGINT");

pub(crate) fn register_flags() {
    flag::register(&[&USERCODE_IN_PTHREAD, &QUIT_ON_SIGTERM, &QUIT_ON_SIGHUP]);
}

pub(super) fn usercode_in_pthread() -> bool {
    USERCODE_IN_PTHREAD.get()
}

pub(super) fn quits_on_sigterm() -> bool {
    QUIT_ON_SIGTERM.get()
}

pub(super) fn quits_on_sighup() -> bool {
    QUIT_ON_SIGHUP.get()
}
