//! Who has changed what through the pages of this process, and when: the latest changes, in memory.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::SystemTime;

use super::clock;
use super::context::PageContext;
use super::write::Html;
use crate::socket::lock;

/// Changes that are remembered; the oldest goes first.
pub(crate) const CHANGES_MAX: usize = 256;
/// Bytes of a change that are remembered.
const CHANGE_BYTES_MAX: usize = 1024;

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) time: SystemTime,
    /// The address that it came from.
    pub(crate) who: String,
    pub(crate) what: String,
}

static CHANGES: Mutex<VecDeque<Change>> = Mutex::new(VecDeque::new());

/// Remembers a change.
pub(crate) fn record(context: &PageContext<'_>, mut what: String) {
    let end = (0..=CHANGE_BYTES_MAX.min(what.len())).rev().find(|end| what.is_char_boundary(*end));
    what.truncate(end.unwrap_or(0));
    let change = Change { time: bthread::clock::wall(), who: context.remote.to_string(), what };
    let mut changes = lock(&CHANGES);
    if changes.len() == CHANGES_MAX {
        changes.pop_front();
    }
    changes.push_back(change);
}

/// The changes, the oldest first.
pub(crate) fn changes() -> Vec<Change> {
    lock(&CHANGES).iter().cloned().collect()
}

/// A table of changes, the latest on top.
pub(crate) fn table(html: &mut Html, changes: &[Change]) {
    html.table(&["Time", "Who", "What"], |html| {
        for change in changes.iter().rev() {
            html.row(|html| {
                html.cell(clock::stamp(change.time));
                html.cell(&change.who);
                html.cell(&change.what);
            });
        }
    });
}
