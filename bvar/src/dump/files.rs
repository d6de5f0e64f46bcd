//! One dump to files: which variable goes to which, and how a file is replaced.
//!
//! A file is written beside its place and then renamed, so that a reader never sees half of one. Must never
//! write to a file that does not end in `.data`, whatever the flags say.

use super::flags::{
    DUMP_EXCLUDE, DUMP_FILE, DUMP_INCLUDE, DUMP_PREFIX, DUMP_TABS, LOG_DUMPPED, MULTI_DUMP_FILE,
    MULTI_DUMP_FORMAT, MULTI_DUMP_PREFIX, QUESTION_MARK,
};
use super::{DumpOptions, dump_exposed};
use crate::multi;
use crate::name::normalize_name;
use crate::wildcard::Wildcards;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
// Relaxed: a number that only has to differ.
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The most files that `bvar_dump_tabs` can name.
pub const MAX_TABS: usize = 64;

const EXTENSION: &str = "data";

/// The name of the program, in the form of a variable's name: what `<app>` stands for in the flags of the dump.
///
/// *Blocking:* no.
pub fn app_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let path = std::env::current_exe().ok().or_else(|| std::env::args_os().next().map(PathBuf::from));
        let file = path.as_deref().and_then(Path::file_name).unwrap_or_default();
        normalize_name(&file.to_string_lossy())
    });
    &NAME
}

/// Names and wildcards of the variables that get a file of their own; `None` if `text` is not
/// `file=wildcards` again and again with `;` between, or names more than [`MAX_TABS`] files.
pub(super) fn parse_tabs(text: &str) -> Option<Vec<(String, Wildcards)>> {
    let tabs = text.split(';').map(str::trim).filter(|tab| !tab.is_empty());
    let tabs: Option<Vec<_>> = tabs
        .take(MAX_TABS + 1)
        .map(|tab| {
            let (name, list) = tab.split_once('=')?;
            let name = name.trim();
            // A name becomes part of a file's: no other folder, no hidden file.
            let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
            let list = Wildcards::new(list, QUESTION_MARK).ok()?;
            (is_name && !name.is_empty()).then(|| (name.to_owned(), list))
        })
        .collect();
    tabs.filter(|tabs| tabs.len() <= MAX_TABS)
}

/// What goes before each name: the flag's text in the form of a name, with a `_` behind.
fn prefix(flag: &str) -> String {
    let mut prefix = normalize_name(&flag.replace("<app>", app_name()));
    if !prefix.is_empty() && !prefix.ends_with('_') {
        prefix.push('_');
    }
    prefix
}

/// The path that a flag names, without its extension; `None` if it names none.
fn stem(flag: &str) -> Option<PathBuf> {
    let path = PathBuf::from(flag.replace("<app>", app_name()));
    path.file_name()?;
    Some(if path.extension().is_some_and(|extension| extension == EXTENSION) {
        path.with_extension("")
    } else {
        path
    })
}

fn with_suffix(stem: &Path, suffix: &str) -> PathBuf {
    let mut path = OsString::from(stem);
    path.push(suffix);
    path.into()
}

/// Replaces the file by `text`; removes it if that is empty.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    if text.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // Neither two processes that share a file's name nor two dumps at once share this one.
    static DUMPS: AtomicU64 = AtomicU64::new(0);
    let dump = DUMPS.fetch_add(1, Relaxed);
    let beside = with_suffix(path, &format!(".{}.{dump}.tmp", std::process::id()));
    // A new file: nobody's link is followed.
    let written = File::create_new(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Dumps the exposed variables to the files that the flags `bvar_dump_*` name, now, and returns how many
/// there were. Lines are `<prefix>_<name> : <value>` and end in CRLF; text is quoted and escaped, so that each
/// variable is one line.
///
/// With the flag `bvar_dump` set this happens by itself every `bvar_dump_interval` seconds.
///
/// # Errors
/// Those of the file system.
///
/// *Blocking:* the thread, while files are written; as the variables' descriptions do.
pub fn dump_to_files() -> io::Result<usize> {
    let Some(stem) = stem(&DUMP_FILE.get()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "bvar_dump_file names no file"));
    };
    // The flag's check leaves nothing else.
    let tabs = parse_tabs(&DUMP_TABS.get()).unwrap_or_default();
    let mut texts = vec![String::new(); tabs.len()];
    let mut rest = String::new();
    let prefix = prefix(&DUMP_PREFIX.get());
    let options = DumpOptions {
        question_mark: QUESTION_MARK,
        white_wildcards: DUMP_INCLUDE.get(),
        black_wildcards: DUMP_EXCLUDE.get(),
        ..DumpOptions::default()
    };
    let count = dump_exposed(&options, |name, value| {
        let tab = tabs.iter().position(|(_, wanted)| wanted.matches(name));
        let text = tab.map_or(&mut rest, |tab| &mut texts[tab]);
        for part in [&prefix, name, " : ", value, "\r\n"] {
            text.push_str(part);
        }
        ControlFlow::Continue(())
    });
    let count = count.map_err(io::Error::other)?;
    for ((name, _), text) in tabs.iter().zip(&texts) {
        log(text);
        replace(&with_suffix(&stem, &format!(".{name}.{EXTENSION}")), text)?;
    }
    log(&rest);
    replace(&with_suffix(&stem, &format!(".{EXTENSION}")), &rest)?;
    Ok(count)
}

/// Dumps the variables with labels to the file that the flags `mbvar_dump_*` name.
pub(super) fn dump_multi_to_file() -> io::Result<()> {
    let Some(stem) = stem(&MULTI_DUMP_FILE.get()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "mbvar_dump_file names no file"));
    };
    let between = if MULTI_DUMP_FORMAT.get() == "prometheus" { " " } else { " : " };
    let mut text = String::new();
    multi::write_lines(&mut text, &prefix(&MULTI_DUMP_PREFIX.get()), between, "\r\n");
    log(&text);
    replace(&with_suffix(&stem, &format!(".{EXTENSION}")), &text)
}

fn log(text: &str) {
    if LOG_DUMPPED.get() {
        eprint!("{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_are_files_in_the_same_folder() {
        let tabs = parse_tabs(&DUMP_TABS.get()).unwrap();
        let names: Vec<&str> = tabs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["latency", "qps", "error", "system"]);
        assert!(tabs[3].1.matches("process_uptime") && tabs[3].1.matches("kernel_version"));
        assert_eq!(parse_tabs(" a = x*,y ; b=z;").unwrap().len(), 2);
        assert!(parse_tabs("").unwrap().is_empty());
        for wrong in ["a", "../a=*", "a/b=*", ".=*", "=x", "a b=*"] {
            assert!(parse_tabs(wrong).is_none(), "{wrong}");
        }
        assert!(parse_tabs(&"a=*;".repeat(MAX_TABS)).is_some());
        assert!(parse_tabs(&"a=*;".repeat(MAX_TABS + 1)).is_none());
    }

    #[test]
    fn every_file_ends_in_data() {
        assert_eq!(stem("monitor/bvar.<app>.data"), Some(format!("monitor/bvar.{}", app_name()).into()));
        assert_eq!(stem("/etc/passwd"), Some("/etc/passwd".into()));
        assert_eq!((stem(""), stem("/"), stem("..")), (None, None, None));
        assert_eq!(prefix("<app>"), format!("{}_", app_name()));
        assert_eq!((prefix(""), prefix("MyApp-"), prefix("a")), ("".into(), "my_app_".into(), "a_".into()));
    }
}
