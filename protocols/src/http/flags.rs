//! The settings of HTTP: names and defaults of brpc (`spec/protocols-http.md` §20).

use bvar::flag::{self, Flag};

/// Whether a failed call has the number that its server sent in `x-bd-error-code`, instead of
/// [`EHTTP`](rpc::error::EHTTP).
pub(super) static USE_HTTP_ERROR_CODE: Flag<bool> = Flag::new(
    "use_http_error_code",
    false,
    "Calls over HTTP fail with the number in x-bd-error-code, if there is one",
)
.reloadable();

pub(crate) fn register() {
    flag::register(&[&USE_HTTP_ERROR_CODE]);
}
