//! The flags that decide where the builder of a server does not say (`spec/rpc-core.md` §27), and how a process quits.

use bvar::flag::{self, Flag};

use crate::transport::ListenOptions;

static REUSE_ADDR: Flag<bool> = Flag::new(
    "reuse_addr",
    true,
    "Listen on ports though connections of their last user linger (SO_REUSEADDR)",
);
static REUSE_PORT: Flag<bool> = Flag::new(
    "reuse_port",
    false,
    "Let others listen on the ports of servers at the same time (SO_REUSEPORT)",
);
static REUSE_UDS_PATH: Flag<bool> =
    Flag::new("reuse_uds_path", false, "Take over paths of Unix sockets though somebody may listen there");
static USERCODE_IN_PTHREAD: Flag<bool> =
    Flag::new("usercode_in_pthread", false, "Run the code of services on threads that may block");
static QUIT_ON_SIGTERM: Flag<bool> =
    Flag::new("graceful_quit_on_sigterm", true, "Quit in order when SIGTERM comes, as for SIGINT");
static QUIT_ON_SIGHUP: Flag<bool> =
    Flag::new("graceful_quit_on_sighup", false, "Quit in order when SIGHUP comes, as for SIGINT");

pub(crate) fn register_flags() {
    flag::register(&[&REUSE_ADDR, &REUSE_PORT, &REUSE_UDS_PATH, &USERCODE_IN_PTHREAD]);
    flag::register(&[&QUIT_ON_SIGTERM, &QUIT_ON_SIGHUP]);
}

pub(super) fn listening() -> ListenOptions {
    ListenOptions {
        reuse_address: REUSE_ADDR.get(),
        reuse_port: REUSE_PORT.get(),
        reuse_path: REUSE_UDS_PATH.get(),
    }
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
