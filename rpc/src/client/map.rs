//! All ways to servers of the process, so that channels that may share connections do (brpc: `SocketMap`).
//!
//! Owns who holds an entry, and when one that nobody holds is closed: at once, or after a while in which another channel
//! may take it over. It must never lock an entry, or make one fail, with its own lock held.

use std::collections::HashMap;
use std::collections::hash_map;
use std::sync::{Arc, LazyLock, Mutex};

use bthread::timer;

use super::entry::Entry;
use super::flags;
use super::way::{Key, Way};
use crate::protocol::ConnectionType;
use crate::socket::lock;
use crate::starting;

/// Entries at which those that nobody holds are closed at once.
const DEFERRED_MAX: usize = 1 << 16;

static MAP: LazyLock<Mutex<HashMap<Key, Listed>>> = LazyLock::new(Mutex::default);

struct Listed {
    entry: Arc<Entry>,
    holders: usize,
    /// Goes up with each holder that comes.
    uses: u64,
}

/// An entry that a channel holds.
#[derive(Debug)]
pub(super) struct Held {
    key: Key,
    entry: Arc<Entry>,
}

impl Held {
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

/// The entry of a way, which others may have made for theirs.
pub(super) fn hold(kind: ConnectionType, way: Way) -> Held {
    let key = way.key(kind);
    let mut map = lock(&MAP);
    let listed = match map.entry(key.clone()) {
        hash_map::Entry::Occupied(listed) => listed.into_mut(),
        hash_map::Entry::Vacant(place) => {
            place.insert(Listed { entry: Arc::new(Entry::new(kind, way)), holders: 0, uses: 0 })
        }
    };
    listed.holders += 1;
    listed.uses += 1;
    Held { key, entry: listed.entry.clone() }
}

impl Drop for Held {
    fn drop(&mut self) {
        let deferral = flags::deferral();
        let uses = {
            let mut map = lock(&MAP);
            let is_full = map.len() > DEFERRED_MAX;
            let Some(listed) = map.get_mut(&self.key) else { return };
            listed.holders -= 1;
            if listed.holders > 0 {
                return;
            }
            let uses = listed.uses;
            if deferral.is_none() || is_full {
                map.remove(&self.key);
            }
            (!is_full).then_some(uses)
        };
        // The time that is over counts if the flag says so.
        let idle_for = if flags::deferral_respects_idle() { self.entry.idle_for() } else { None };
        match (uses, deferral.map(|deferral| deferral.saturating_sub(idle_for.unwrap_or_default()))) {
            (Some(uses), Some(left)) => {
                let unheld = Arc::new((self.key.clone(), uses));
                let close = move || starting::start(unheld, |unheld| close_unheld(&unheld.0, unheld.1));
                timer::schedule(bthread::clock::now() + left, close); // never cancelled
            }
            _ => self.entry.close(),
        }
    }
}

/// Closes an entry that nobody has held since.
fn close_unheld(key: &Key, uses: u64) {
    let closed = {
        let mut map = lock(&MAP);
        let is_unheld = map.get(key).is_some_and(|listed| listed.holders == 0 && listed.uses == uses);
        if is_unheld { map.remove(key) } else { None }
    };
    if let Some(listed) = closed {
        listed.entry.close();
    }
}

/// Servers that are looked for, as they were not there.
pub(crate) fn checked() -> usize {
    let entries: Vec<_> = lock(&MAP).values().map(|listed| listed.entry.clone()).collect();
    entries.iter().filter(|entry| entry.is_checking()).count()
}
