//! Where an exploration takes place, what its children are started with, and the command that replays one of its runs.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::thread;

use super::{Omit, environment};

/// Where an exploration takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the test of this name.
    Test(String),
    Program,
}

impl Place {
    /// The test harness calls the threads of its tests by their names, even if it is told to use a single thread.
    /// A thread without a name can be anywhere.
    pub(super) fn of_this_thread() -> Option<Self> {
        match thread::current().name()? {
            "main" => Some(Self::Program),
            test => Some(Self::Test(test.to_owned())),
        }
    }

    /// What a child is started with.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Test(name) => {
                let flags = ["--exact", "--include-ignored", "--nocapture", "--test-threads=1"];
                [name.as_str()].iter().chain(&flags).map(OsString::from).collect()
            }
            Self::Program => env::args_os().skip(1).collect(),
        }
    }
}

/// One run that can be replayed: what [`Explorer::replay_command`](super::Explorer::replay_command) writes a command
/// for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replay {
    /// The seed.
    pub seed: u64,
    /// What is left out of its plans.
    pub omit: Omit,
}

type WriteCommand = dyn Fn(&Replay) -> String;

/// How the command is written that replays a run.
#[derive(Default)]
pub(super) struct ReplayCommand {
    own: Option<Box<WriteCommand>>,
}

impl ReplayCommand {
    pub(super) fn new(command: impl Fn(&Replay) -> String + 'static) -> Self {
        Self { own: Some(Box::new(command)) }
    }

    pub(super) fn write(&self, replay: &Replay, place: &Place) -> String {
        match &self.own {
            Some(command) => command(replay),
            None => default_command(replay, place, &words_of(place)),
        }
    }
}

impl fmt::Debug for ReplayCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.own.is_some() { "ReplayCommand(own)" } else { "ReplayCommand(default)" })
    }
}

/// What comes before the test's own arguments, or the whole of the program's command.
fn words_of(place: &Place) -> Vec<String> {
    let program = || env::args_os().take(1).map(|word| word.to_string_lossy().into_owned()).collect();
    match place {
        // Cargo names the package to the tests it runs.
        Place::Test(_) => match env::var("CARGO_PKG_NAME") {
            Ok(package) => {
                let release = if cfg!(debug_assertions) { None } else { Some("--release") };
                let words = ["cargo", "test", "-p", &package];
                words.into_iter().chain(release).map(str::to_owned).collect()
            }
            Err(_) => program(),
        },
        Place::Program => env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
    }
}

fn default_command(replay: &Replay, place: &Place, words: &[String]) -> String {
    let mut command = format!("{}={}", environment::SEED, replay.seed);
    if !replay.omit.is_empty() {
        command += &format!(" {}={}", environment::OMIT, replay.omit);
    }
    for word in words {
        command += " ";
        command += &quoted(word);
    }
    if let Place::Test(name) = place {
        let separator = if words.first().is_some_and(|word| word == "cargo") { " --" } else { "" };
        command += &format!(" {}{separator} --exact --include-ignored --nocapture", quoted(name));
    }
    command
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=,+%@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_known_by_its_thread() {
        let place = Place::of_this_thread().unwrap();
        assert_eq!(place, Place::Test("explore::command::tests::a_test_is_known_by_its_thread".to_owned()));
        assert_eq!(place.arguments()[1], "--exact");
        assert_eq!(thread::spawn(Place::of_this_thread).join().unwrap(), None);
    }

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let replay = Replay { seed: 7, omit: Omit::from_iter([("adds", 1), ("adds", 2)]) };
        let place = Place::Test("module::name".to_owned());
        assert_eq!(
            default_command(&replay, &place, &words("cargo test -p some-package")),
            "BOBBIN_SIM_SEED=7 BOBBIN_SIM_OMIT=adds:1-2 cargo test -p some-package module::name -- --exact \
             --include-ignored --nocapture"
        );
        assert_eq!(
            default_command(&replay, &place, &words("target/debug/deps/x-1")),
            "BOBBIN_SIM_SEED=7 BOBBIN_SIM_OMIT=adds:1-2 target/debug/deps/x-1 module::name --exact \
             --include-ignored --nocapture"
        );
        let replay = Replay { seed: 7, omit: Omit::new() };
        let program = ["./a b", "--it's", "$HOME", ""].map(str::to_owned);
        assert_eq!(
            default_command(&replay, &Place::Program, &program),
            r"BOBBIN_SIM_SEED=7 './a b' '--it'\''s' '$HOME' ''"
        );
    }
}
