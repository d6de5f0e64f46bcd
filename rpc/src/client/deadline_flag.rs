//! Whether deadlines travel: the flag has brpc's name (`spec/rpc-core.md` §27).

use bvar::flag::{self, Flag};

/// Whether servers are told how long their caller still waits, as long as nobody says otherwise. brpc's is off; here
/// deadlines travel with every call.
pub const DELIVER_TIMEOUT_DEFAULT: bool = true;

pub(super) static DELIVER_TIMEOUT: Flag<bool> = Flag::new(
    "baidu_std_protocol_deliver_timeout_ms",
    DELIVER_TIMEOUT_DEFAULT,
    "Requests say how long their caller still waits, on protocols that carry it",
)
.reloadable();

/// Makes them known among the flags of the process.
pub(crate) fn register() {
    flag::register(&[&DELIVER_TIMEOUT]);
}
