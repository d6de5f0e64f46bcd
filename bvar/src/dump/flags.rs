//! The flags of the dump to files. Those that say which files are none of the debug pages' business: a process that may
//! write where others may not would write, and remove, what they like.

use super::{files, thread};
use crate::flag::{AnyFlag, Flag};
use crate::wildcard::{MAX_LIST_LEN, Wildcards};

/// Lists in files use this for any one character.
pub(super) const QUESTION_MARK: char = '?';

fn is_list(text: &str) -> bool {
    Wildcards::new(text, QUESTION_MARK).is_ok()
}

fn is_file(path: &str) -> bool {
    path.len() <= MAX_LIST_LEN && !path.contains('\0')
}

pub(super) static DUMP: Flag<bool> =
    Flag::new("bvar_dump", false, "Write the exposed variables to files, again and again")
        .reloadable()
        .on_change(thread::wake);

pub(crate) static DUMP_INTERVAL: Flag<i32> = Flag::new(
    "bvar_dump_interval",
    10,
    "Seconds between two dumps; also the length of windows that are not told otherwise",
)
.validated(|seconds| *seconds >= 1)
.on_change(thread::wake);

pub(super) static DUMP_FILE: Flag<String> = Flag::new(
    "bvar_dump_file",
    "monitor/bvar.<app>.data",
    "The file of the dump; <app> is the name of the program, the extension is always .data",
)
.validated(|path: &String| is_file(path))
.only_at_start()
.on_change(thread::wake);

pub(super) static DUMP_INCLUDE: Flag<String> =
    Flag::new("bvar_dump_include", "", "Names and wildcards of what is dumped; empty: everything")
        .validated(|list: &String| is_list(list))
        .on_change(thread::wake);

pub(super) static DUMP_EXCLUDE: Flag<String> =
    Flag::new("bvar_dump_exclude", "", "Names and wildcards of what is not dumped even so")
        .validated(|list: &String| is_list(list))
        .on_change(thread::wake);

pub(super) static DUMP_PREFIX: Flag<String> =
    Flag::new("bvar_dump_prefix", "<app>", "Goes before each name of the dump, with a _ between")
        .reloadable()
        .on_change(thread::wake);

pub(super) static DUMP_TABS: Flag<String> = Flag::new(
    "bvar_dump_tabs",
    "latency=*_latency*;qps=*_qps*;error=*_error*;system=*process_*,*malloc_*,*kernel_*",
    "Variables with a file of their own: file=wildcards,... for each, divided by ;",
)
.validated(|tabs: &String| files::parse_tabs(tabs).is_some())
.on_change(thread::wake);

pub(super) static LOG_DUMPPED: Flag<bool> =
    Flag::new("bvar_log_dumpped", false, "Write each dump to the standard error output too").reloadable();

pub(super) static MULTI_DUMP: Flag<bool> =
    Flag::new("mbvar_dump", false, "Write the variables with labels to a file, again and again")
        .reloadable()
        .on_change(thread::wake);

pub(super) static MULTI_DUMP_FILE: Flag<String> = Flag::new(
    "mbvar_dump_file",
    "monitor/mbvar.<app>.data",
    "The file of the variables with labels; as bvar_dump_file",
)
.validated(|path: &String| is_file(path))
.only_at_start()
.on_change(thread::wake);

pub(super) static MULTI_DUMP_PREFIX: Flag<String> =
    Flag::new("mbvar_dump_prefix", "<app>", "Goes before each name in mbvar_dump_file")
        .reloadable()
        .on_change(thread::wake);

pub(super) static MULTI_DUMP_FORMAT: Flag<String> =
    Flag::new("mbvar_dump_format", "common", "How lines of mbvar_dump_file look: common or prometheus")
        .validated(|format: &String| matches!(format.as_str(), "common" | "prometheus"))
        .on_change(thread::wake);

pub(crate) const FLAGS: &[&dyn AnyFlag] = &[
    &DUMP,
    &DUMP_INTERVAL,
    &DUMP_FILE,
    &DUMP_INCLUDE,
    &DUMP_EXCLUDE,
    &DUMP_PREFIX,
    &DUMP_TABS,
    &LOG_DUMPPED,
    &MULTI_DUMP,
    &MULTI_DUMP_FILE,
    &MULTI_DUMP_PREFIX,
    &MULTI_DUMP_FORMAT,
];
