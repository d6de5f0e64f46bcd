//! Names and descriptions of numbers that are not in the table: users' own, and those of the system.

use std::collections::BTreeMap;
use std::io;
use std::sync::{PoisonError, RwLock};

use super::RpcError;
use super::code::{EINVAL, ErrorCode, KNOWN};

/// Codes that a program may name, at most.
pub const ERROR_CODES_MAX: usize = 4096;
/// Numbers below this are the system's.
const ERRNOS_END: i32 = 1000;

static REGISTERED: RwLock<BTreeMap<ErrorCode, (&'static str, &'static str)>> = RwLock::new(BTreeMap::new());

/// Gives a number of one's own a name and a description, for [`ErrorCode::name`], [`ErrorCode::description`] and the
/// `Debug` of errors (brpc: `BAIDU_REGISTER_ERRNO`). For the beginning of a program. Never blocks for long.
///
/// # Errors
/// [`EINVAL`] for a number that has a name, 0, errnos, and more than [`ERROR_CODES_MAX`] of them.
///
/// ```
/// use rpc::error::{ErrorCode, register_error_code};
/// const ENOROWS: ErrorCode = ErrorCode::new(30001);
/// register_error_code(ENOROWS, "ENOROWS", "The table is empty")?;
/// assert_eq!(ENOROWS.name(), Some("ENOROWS"));
/// assert!(register_error_code(ENOROWS, "AGAIN", "").is_err());
/// # Ok::<(), rpc::RpcError>(())
/// ```
pub fn register_error_code(
    code: ErrorCode,
    name: &'static str,
    description: &'static str,
) -> Result<(), RpcError> {
    let refused =
        |why: &str| Err(RpcError::new(EINVAL, format!("{name}={code} cannot be registered: {why}")));
    if (0..ERRNOS_END).contains(&code.get()) {
        return refused("the number is the system's");
    }
    if let Some(known) = KNOWN.iter().find(|known| known.code == code) {
        return refused(&format!("it is {}", known.name));
    }
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    match registered.get(&code) {
        Some((taken, _)) => refused(&format!("it is {taken}")),
        None if registered.len() >= ERROR_CODES_MAX => refused("there are too many"),
        None => {
            registered.insert(code, (name, description));
            Ok(())
        }
    }
}

/// Name and description of a user's code.
pub(super) fn registered(code: ErrorCode) -> Option<(&'static str, &'static str)> {
    REGISTERED.read().unwrap_or_else(PoisonError::into_inner).get(&code).copied()
}

/// What the system says of a number.
pub(super) fn of_the_system(code: ErrorCode) -> String {
    let unknown = || format!("Unknown error {code}");
    if !(1..ERRNOS_END).contains(&code.get()) {
        return unknown();
    }
    let text = io::Error::from_raw_os_error(code.get()).to_string();
    // The standard library puts the number behind it.
    text.strip_suffix(&format!(" (os error {code})")).map_or_else(unknown, str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::super::{EINTERNAL, ELIMIT, ERPCTIMEDOUT};
    use super::*;

    #[test]
    fn numbers_are_named_once() {
        let code = ErrorCode::new(77_001);
        assert_eq!((code.name(), code.description().as_ref()), (None, "Unknown error 77001"));
        register_error_code(code, "EMINE", "Of my own").unwrap();
        assert_eq!((code.name(), code.description().as_ref()), (Some("EMINE"), "Of my own"));
        assert_eq!(format!("{:?}", RpcError::new(code, "x")), "EMINE: [E77001]x");
        for taken in [code, EINTERNAL, ErrorCode::new(0), ErrorCode::new(13)] {
            assert_eq!(register_error_code(taken, "ETHEIRS", "").unwrap_err().code(), EINVAL);
        }
    }

    #[test]
    fn every_number_has_a_description() {
        assert!(KNOWN.iter().all(|known| !known.description.is_empty()));
        assert_eq!(ERPCTIMEDOUT.description(), "The call's deadline passed");
        assert_eq!(ErrorCode::new(28).description(), "No space left on device");
        assert_eq!(ErrorCode::new(-5).description(), "Unknown error -5");
        assert!(ELIMIT.is_retriable() && !ERPCTIMEDOUT.is_retriable());
    }
}
