//! The settings of baidu_std: names and defaults of brpc.

use bvar::flag::{self, Flag};

/// Whether requests name services with their packages.
pub(super) static USE_FULLNAME: Flag<bool> = Flag::new(
    "baidu_protocol_use_fullname",
    true,
    "Requests of baidu_std name the service with its package; without it for some servers in Java",
)
.reloadable();

pub(crate) fn register() {
    flag::register(&[&USE_FULLNAME]);
}
