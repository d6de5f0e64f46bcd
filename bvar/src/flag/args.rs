//! Flags on a command line and in files of flags, in the forms of gflags.
//!
//! Must never set one flag of a command line that has a mistake in it.

use super::{AnyFlag, SetError, registry};
use std::fmt;
use std::io::{self, Read};
use std::path::Path;

/// The largest file of flags that is read, in bytes.
pub const MAX_FLAG_FILE_BYTES: u64 = 1 << 20;

/// How deep files of flags may name other ones.
pub const MAX_FLAG_FILE_DEPTH: usize = 8;

/// The most settings one command line may hold, files included.
const MAX_SETTINGS: usize = 1 << 16;

/// Sets registered flags from arguments (without the program's name) and returns the arguments that are none.
///
/// | Argument | What it does |
/// |---|---|
/// | `--name=value`, `-name=value` | sets the flag |
/// | `--name value` | sets the flag, if it is not a `bool` |
/// | `--name`, `--noname` | sets a `bool` to true, to false |
/// | `--flagfile=path` | reads arguments from a file, one a line; empty lines and lines with `#` are skipped |
/// | `--` | all that follow are no flags |
///
/// In a name `-` stands for `_`. Flags may stand behind other arguments. When a flag is set twice, the last
/// one counts. Flags that cannot be set in a running process can be set here.
///
/// # Errors
/// The first mistake: an unknown flag, a value the flag does not take, a missing value, a file that cannot
/// be read, is larger than [`MAX_FLAG_FILE_BYTES`] or nested deeper than [`MAX_FLAG_FILE_DEPTH`]. No flag is
/// changed then.
///
/// *Blocking:* the thread, as the flags' checks and the reading of files do.
pub fn parse_args<S: Into<String>>(args: impl IntoIterator<Item = S>) -> Result<Vec<String>, ArgsError> {
    let mut parsed = Parsed::default();
    parsed.take_all(args.into_iter().map(Into::into), 0)?;
    for (flag, text) in &parsed.settings {
        flag.check_text(text).map_err(ArgsError::Set)?;
    }
    for (flag, text) in &parsed.settings {
        flag.set_text_at_start(text).map_err(ArgsError::Set)?;
    }
    Ok(parsed.rest)
}

#[derive(Default)]
struct Parsed {
    settings: Vec<(&'static dyn AnyFlag, String)>,
    rest: Vec<String>,
}

impl Parsed {
    fn take_all(&mut self, mut args: impl Iterator<Item = String>, depth: usize) -> Result<(), ArgsError> {
        while let Some(arg) = args.next() {
            if arg == "--" {
                self.rest.extend(args);
                return Ok(());
            }
            let Some(setting) =
                arg.strip_prefix("--").or(arg.strip_prefix('-')).filter(|name| !name.is_empty())
            else {
                self.rest.push(arg);
                continue;
            };
            let (name, value) = match setting.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (setting, None),
            };
            if name == "flagfile" {
                let paths =
                    value.or_else(|| args.next()).ok_or_else(|| ArgsError::MissingValue(name.into()))?;
                paths.split(',').try_for_each(|path| self.take_file(Path::new(path), depth + 1))?;
                continue;
            }
            let (flag, value) = match (lookup(name), value) {
                (Some(flag), Some(value)) => (flag, value),
                (Some(flag), None) if flag.type_name() == "bool" => (flag, "true".to_owned()),
                (Some(flag), None) => {
                    (flag, args.next().ok_or_else(|| ArgsError::MissingValue(name.into()))?)
                }
                (None, value) => match name.strip_prefix("no").and_then(lookup) {
                    Some(flag) if flag.type_name() == "bool" && value.is_none() => (flag, "false".to_owned()),
                    _ => return Err(ArgsError::Set(SetError::Unknown(name.to_owned()))),
                },
            };
            if self.settings.len() >= MAX_SETTINGS {
                return Err(ArgsError::TooMany);
            }
            self.settings.push((flag, value));
        }
        Ok(())
    }

    fn take_file(&mut self, path: &Path, depth: usize) -> Result<(), ArgsError> {
        let failed = |error: io::Error| ArgsError::File(path.display().to_string(), error.to_string());
        if depth > MAX_FLAG_FILE_DEPTH {
            return Err(failed(io::Error::other("files of flags name each other too deeply")));
        }
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(MAX_FLAG_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_FLAG_FILE_BYTES {
            return Err(failed(io::Error::other("the file is too large")));
        }
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if !line.starts_with('-') {
                return Err(failed(io::Error::other(format!("no flag: {line:.64}"))));
            }
            // Each line stands for itself: a value cannot be on the line after its flag.
            self.take_all(std::iter::once(line.to_owned()), depth)?;
        }
        Ok(())
    }
}

fn lookup(name: &str) -> Option<&'static dyn AnyFlag> {
    registry::find(name).or_else(|| registry::find(&name.replace('-', "_")))
}

/// Why a command line was refused. No flag was changed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgsError {
    /// A flag is unknown, or does not take the value.
    Set(SetError),
    /// The flag of this name has no value.
    MissingValue(String),
    /// This file of flags cannot be read, and why.
    File(String, String),
    /// There are more settings than any command line needs.
    TooMany,
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgsError::Set(error) => error.fmt(f),
            ArgsError::MissingValue(name) => write!(f, "flag {name} has no value"),
            ArgsError::File(path, why) => write!(f, "cannot read flags from {path}: {why}"),
            ArgsError::TooMany => write!(f, "more than {MAX_SETTINGS} flags are set"),
        }
    }
}

impl std::error::Error for ArgsError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::{Flag, register};

    static COUNT: Flag<i64> = Flag::new("args_test_count", 1, "");
    static NAME: Flag<String> = Flag::new("args_test_name", "none", "");
    static LOUD: Flag<bool> = Flag::new("args_test_loud", false, "");
    static NOISE: Flag<bool> = Flag::new("noargs_test_noise", false, "");

    /// Tests of one process share its flags, so all of them are here.
    #[test]
    fn the_forms_of_arguments() {
        register(&[&COUNT, &NAME, &LOUD, &NOISE]);
        let rest = parse_args([
            "first",
            "-args_test_count=2",
            "--args_test_name",
            "-x=y",
            "--args_test_loud",
            "second",
            "-",
            "--",
            "--args_test_count=9",
        ]);
        assert_eq!(rest.unwrap(), ["first", "second", "-", "--args_test_count=9"]);
        assert_eq!((COUNT.get(), NAME.get(), LOUD.get()), (2, "-x=y".to_owned(), true));

        let rest = parse_args([
            "--args-test-count",
            "-7",
            "--noargs_test_loud",
            "--noargs_test_noise",
            "--args_test_name=",
        ]);
        assert!(rest.unwrap().is_empty());
        assert_eq!((COUNT.get(), NAME.get(), LOUD.get(), NOISE.get()), (-7, String::new(), false, true));
        parse_args(["--args_test_count=1", "--args_test_count=3", "--args_test_loud=yes"]).unwrap();
        assert_eq!((COUNT.get(), LOUD.get()), (3, true));

        for wrong in [
            &["--args_test_count=4", "--nothing=1"] as &[&str],
            &["--args_test_count=4", "--args_test_count"],
            &["--args_test_count=4", "--args_test_count=x"],
            &["--args_test_count=4", "--args_test_loud=maybe"],
            &["--args_test_count=4", "--noargs_test_count"],
            &["--args_test_count=4", "--noargs_test_loud=true"],
            &["--args_test_count=4", "--flagfile"],
            &["--args_test_count=4", "--flagfile=/nonexistent/flags"],
            &["--args_test_count=4", "--=4"],
        ] {
            assert!(parse_args(wrong.iter().copied()).is_err(), "{wrong:?}");
            assert_eq!(COUNT.get(), 3, "{wrong:?} changed a flag");
        }

        let folder = std::env::temp_dir().join(format!("bvar_flagfile_{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [outer, inner, ring, bare] = ["outer", "inner", "ring", "bare"].map(|name| folder.join(name));
        std::fs::write(
            &outer,
            format!("# flags\n\n  -args_test_count=11  \n--flagfile={}\n", inner.display()),
        )
        .unwrap();
        std::fs::write(&inner, "--args_test_name=two words\n--noargs_test_loud\n").unwrap();
        std::fs::write(&ring, format!("--flagfile={}\n", ring.display())).unwrap();
        std::fs::write(&bare, "args_test_count=12\n").unwrap();
        let from = |path: &Path| parse_args(["--flagfile".to_owned(), path.display().to_string()]);
        assert!(from(&outer).unwrap().is_empty());
        assert_eq!((COUNT.get(), NAME.get(), LOUD.get()), (11, "two words".to_owned(), false));
        assert!(matches!(from(&ring), Err(ArgsError::File(..))));
        assert!(matches!(from(&bare), Err(ArgsError::File(..))));
        assert_eq!(COUNT.get(), 11);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
