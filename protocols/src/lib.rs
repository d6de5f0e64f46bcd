//! The wire formats of Bobbin, one folder for each.
//!
//! A folder turns bytes into frames and frames into calls, and back; nothing here waits, reads a clock or knows a
//! socket. All folders are alike inside: `mod.rs` says what the format is and what of it is supported, `codec` cuts
//! and writes frames, `server.rs` and `client.rs` are the two halves, `tests.rs` holds captured bytes.
//!
//! | Format | Name | Servers | Channels |
//! |---|---|---|---|
//! | [`baidu_std`] | `baidu_std` | yes | yes |
//! | [`http`] | `http` | yes | yes |
//! | [`streaming_rpc`] | `streaming_rpc` | yes | with `baidu_std` |
#![forbid(unsafe_code)]

pub mod baidu_std;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod streaming_rpc;

use rpc::protocol::Protocol;
use rpc::registry::{DefaultRegistry, Registry};

/// Every protocol here, in the order in which servers try them on a new connection.
pub const ALL: &[&'static dyn Protocol] =
    &[&baidu_std::BAIDU_STD, &streaming_rpc::STREAMING_RPC, &self::http::HTTP];

/// A registry of [`ALL`], to be passed to a builder or added to. Makes the flags known, as [`register_flags`] does.
pub fn registry() -> Registry {
    register_flags();
    Registry::new(ALL)
}

/// Makes the flags of the protocols and of all below them known, so that `bvar::flag::parse_args` finds them. Servers and
/// channels do it too; a program that takes flags from its command line does it before. Never blocks for long; calling
/// it again changes nothing.
pub fn register_flags() {
    rpc::register_flags();
    baidu_std::flags::register();
    self::http::flags::register();
}

/// The registry that servers and channels of the facade start from. Only ever a type.
#[derive(Debug)]
pub enum Bundled {}

impl DefaultRegistry for Bundled {
    fn registry() -> Registry {
        registry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_protocol_has_a_side_and_a_connection_type() {
        for (index, protocol) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| !other.name().eq_ignore_ascii_case(protocol.name())));
            assert!(
                protocol.server().is_some() || protocol.client().is_some() || protocol.stream().is_some()
            );
            assert!(!protocol.connection_types().is_empty());
        }
        assert_eq!(registry().protocols().len(), ALL.len());
    }
}
