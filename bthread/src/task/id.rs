//! What a bthread is called: the number of its slot, and which use of the slot it is.

use std::fmt;

/// The versioned 64-bit id of a bthread: `version << 32 | slot`. Never 0; not given twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

impl TaskId {
    /// The id of the use `version`, which has 32 bits, of the slot `index`.
    pub(super) fn new(version: u64, index: u32) -> Self {
        TaskId(version << 32 | u64::from(index))
    }

    /// The number itself.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The id with this number, which need not name any bthread: pages and tools pass ids as text.
    pub fn from_u64(id: u64) -> Self {
        TaskId(id)
    }

    pub(crate) fn index(self) -> usize {
        self.0 as u32 as usize
    }

    pub(super) fn version(self) -> u64 {
        self.0 >> 32
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}
