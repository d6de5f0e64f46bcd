//! The last profiles by number, to look at again and to compare: what brpc keeps as files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::{Kind, Profile};

/// Profiles kept of each kind; an older one goes (brpc: `max_profiles_kept`).
pub const KEPT_MAX: usize = 32;

/// A profile and its number.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kept {
    /// Names it; never 0 and never used again.
    pub id: u64,
    /// What was kept.
    pub profile: Profile,
}

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());
static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// Keeps a profile and returns its number; numbers rise. The oldest of its kind beyond [`KEPT_MAX`] goes. Never blocks.
///
/// ```
/// use profile::{Kind, kept};
/// let profile = profile::run(Kind::OffCpu, std::time::Duration::from_millis(1))?;
/// let id = kept::keep(profile);
/// assert_eq!(kept::get(id).unwrap().kind(), Kind::OffCpu);
/// assert_eq!(kept::list(Kind::OffCpu)[0].id, id);
/// # Ok::<(), profile::StartError>(())
/// ```
pub fn keep(profile: Profile) -> u64 {
    let kind = profile.kind();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1; // under the lock
    kept.push(Kept { id, profile });
    let is_of_kind = |one: &Kept| one.profile.kind() == kind;
    let gone = match kept.iter().filter(|one| is_of_kind(one)).count() > KEPT_MAX {
        true => kept.iter().position(is_of_kind).map(|oldest| kept.remove(oldest)),
        false => None,
    };
    drop(kept);
    drop(gone); // it may be large
    id
}

/// The profile of that number, if it is kept still. Never blocks.
pub fn get(id: u64) -> Option<Profile> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().find(|one| one.id == id).map(|one| one.profile.clone())
}

/// All of a kind, the newest first. Never blocks.
pub fn list(kind: Kind) -> Vec<Kept> {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.iter().rev().filter(|one| one.profile.kind() == kind).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::profile;

    #[test]
    fn the_newest_of_each_kind_are_kept() {
        let other = keep(profile(Kind::Growth, &[]));
        let ids: Vec<_> = (0..KEPT_MAX + 3).map(|_| keep(profile(Kind::Heap, &[]))).collect();
        assert!(ids.is_sorted() && other > 0);
        assert!(get(other).is_some() && get(ids[2]).is_none() && get(ids[3]).is_some());
        let listed: Vec<_> = list(Kind::Heap).iter().map(|one| one.id).collect();
        assert!(listed.iter().eq(ids[3..].iter().rev()));
    }
}
