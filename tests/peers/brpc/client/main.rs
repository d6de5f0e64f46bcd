//! Runs named features against a features server and prints `ok NAME`, `n/a NAME why` or `FAIL NAME why`, a line each.
//!
//!     features_client NAME... ready plain=H:P auth=H:P limit=H:P generic=H:P logoff=H:P intercept=H:P
//!     features_client --list
//!
//! Without names, all of them.

mod admission;
mod ask;
mod attempts;
mod calls;
mod forms;
mod lives;
mod open;
mod stream_ends;
mod streams;

use std::process::ExitCode;

use ask::Peer;

/// Why a feature does not work here; begins with `n/a` if the peer cannot have it.
pub(crate) type Failure = String;

pub(crate) type Feature = (&'static str, fn(&Peer) -> Result<(), Failure>);

/// Fails the feature with what was seen.
macro_rules! want {
    ($condition:expr, $($seen:tt)+) => {
        if !$condition {
            return Err(format!("{}: {}", stringify!($condition), format!($($seen)+)));
        }
    };
}
pub(crate) use want;

/// The functions of a file as features of their names.
macro_rules! features {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[$crate::Feature] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use features;

fn main() -> ExitCode {
    let all = || {
        [calls::ALL, forms::ALL, admission::ALL, lives::ALL, attempts::ALL, streams::ALL, stream_ends::ALL]
            .into_iter()
            .flatten()
    };
    let (mut names, mut peer) = (Vec::new(), Peer::default());
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some((port, address)) => peer.add(port, address),
            None if argument == "--list" => {
                all().for_each(|(name, _)| println!("{name}"));
                return ExitCode::SUCCESS;
            }
            None if argument == "ready" => {}
            None => names.push(argument),
        }
    }
    if let Some(unknown) = names.iter().find(|name| !all().any(|(known, _)| known == name)) {
        println!("FAIL {unknown} there is no such feature");
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for (name, feature) in all().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        match feature(&peer) {
            Ok(()) => println!("ok {name}"),
            Err(why) => {
                let why = why.replace('\n', " ");
                match why.strip_prefix("n/a ") {
                    Some(why) => println!("n/a {name} {why}"),
                    None => {
                        println!("FAIL {name} {why}");
                        failed = true;
                    }
                }
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
