//! The values of one bthread or thread, by kind and index. Runs no destructor of a value by itself: what is displaced
//! or taken is given to the caller.
//!
//! Holds unsafe: the claim that what a pool keeps is `Send`; the argument stands in `local`.

#![allow(unsafe_code)]

use std::any::Any;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counted, so that a key's value which is replaced while it is used is dropped after the use.
pub(super) type Value = Rc<dyn Any>;

/// Which part of the table a static has its index in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fresh,
    Pooled,
}

#[derive(Default)]
pub(super) struct Table {
    /// Of the statics that are not pooled: dropped at the owner's end, `Send` or not.
    fresh: Vec<Option<Value>>,
    shelf: Shelf,
    _counted: Counted,
}

/// Tables that there are, for statistics.
static TABLES: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn live_tables() -> usize {
    TABLES.load(Ordering::Relaxed)
}

/// Counts as one table.
struct Counted;

impl Default for Counted {
    fn default() -> Self {
        TABLES.fetch_add(1, Ordering::Relaxed);
        Counted
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        TABLES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a pool may keep: every value in here was `Send` when it was put in.
#[derive(Default)]
pub(super) struct Shelf {
    statics: Vec<Option<Value>>,
    keyed: Vec<Option<(u64, Value)>>,
}

/// A table without fresh values.
pub(super) struct Retired(Box<Table>);

// SAFETY: `local` (2): its values are `Send`, and nobody else has clones of its `Rc`s.
unsafe impl Send for Retired {}

impl Retired {
    pub(super) fn into_table(self) -> Box<Table> {
        self.0
    }
}

impl Table {
    /// The table as a pool may keep it. The owner has left all frames of `with`.
    pub(super) fn retire(mut self: Box<Self>) -> Retired {
        debug_assert!(self.fresh.iter().all(Option::is_none));
        self.fresh.clear(); // for the argument; the values are dropped before
        Retired(self)
    }

    /// Where the value of a static is: until it is displaced or taken.
    pub(super) fn get(&self, kind: Kind, index: usize) -> Option<*const ()> {
        let statics = match kind {
            Kind::Fresh => &self.fresh,
            Kind::Pooled => &self.shelf.statics,
        };
        statics.get(index)?.as_ref().map(|value| Rc::as_ptr(value).cast())
    }

    /// Puts a value in, and gives the one it displaces. A `Pooled` one is `Send`.
    pub(super) fn set(&mut self, kind: Kind, index: usize, value: Value) -> Option<Value> {
        let statics = match kind {
            Kind::Fresh => &mut self.fresh,
            Kind::Pooled => &mut self.shelf.statics,
        };
        place(statics, index).replace(value)
    }

    /// The value of a key, which `serial` tells from others that had the index.
    pub(super) fn get_keyed(&self, index: usize, serial: u64) -> Option<Value> {
        match self.shelf.keyed.get(index)? {
            Some((owner, value)) if *owner == serial => Some(value.clone()),
            _ => None,
        }
    }

    /// As [`set`](Self::set), for a key. The value is `Send`.
    pub(super) fn set_keyed(&mut self, index: usize, serial: u64, value: Value) -> Option<Value> {
        place(&mut self.shelf.keyed, index).replace((serial, value)).map(|(_, value)| value)
    }

    pub(super) fn swap_shelf(&mut self, shelf: &mut Shelf) {
        std::mem::swap(&mut self.shelf, shelf);
    }

    /// Places that there are now, taken or not. The three parts take turns, so that the number of a place stays its
    /// own while they grow.
    pub(super) fn places(&self) -> usize {
        3 * self.fresh.len().max(self.shelf.statics.len()).max(self.shelf.keyed.len())
    }

    /// The value in this place, if it is of a part that no pool keeps.
    pub(super) fn take_fresh(&mut self, place: usize) -> Option<Value> {
        if place.is_multiple_of(3) { self.take_any(place) } else { None }
    }

    /// The value in this place.
    pub(super) fn take_any(&mut self, place: usize) -> Option<Value> {
        let index = place / 3;
        match place % 3 {
            0 => self.fresh.get_mut(index)?.take(),
            1 => self.shelf.statics.get_mut(index)?.take(),
            _ => self.shelf.keyed.get_mut(index)?.take().map(|(_, value)| value),
        }
    }
}

impl Shelf {
    pub(super) fn into_table(self) -> Box<Table> {
        Box::new(Table { shelf: self, ..Table::default() })
    }
}

fn place<V>(places: &mut Vec<Option<V>>, index: usize) -> &mut Option<V> {
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    &mut places[index]
}
