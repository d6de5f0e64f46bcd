//! Where the slots of all call ids of the process are.

use super::slot::Slot;
use crate::slots::Slots;

/// Call ids that can be in use at a time in a process: creating beyond fails with
/// [`CallIdError::Full`](super::CallIdError::Full).
pub const CALL_IDS_MAX: usize = 1 << 22;

static TABLE: Slots<Slot> = Slots::new(CALL_IDS_MAX);

/// A slot that nobody uses.
pub(super) fn allocate() -> Option<(u32, &'static Slot)> {
    let index = TABLE.allocate(Slot::new)?;
    Some((index, TABLE.get(index)?))
}

/// The slot with this index, whatever its use is now.
pub(super) fn get(index: u32) -> Option<&'static Slot> {
    TABLE.get(index)
}

/// Takes back a slot whose id was destroyed.
pub(super) fn free(index: u32) {
    TABLE.free(index);
}
