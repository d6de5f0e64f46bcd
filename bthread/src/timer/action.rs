//! What a timer does: a function that is called once, kept without an allocation if it is small.
//!
//! Holds unsafe: a value of unknown type in a place of fixed size. `data` holds a value of the type that `vtable` was
//! made for, from `put` until `run` or the drop takes it out, whichever consumes the action. The value's type is Send,
//! so it may be taken out on any thread; nothing refers to it while it is in here, so an action may be shared as well.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit, align_of, needs_drop, size_of};

use crate::task::TaskRef;

/// Words of a function that need no allocation. With it an action and the rest of its slot fill one cache line.
const INLINE_WORDS: usize = 5;

type Inline = MaybeUninit<[usize; INLINE_WORDS]>;

/// A function to call once.
pub(crate) struct Action {
    vtable: &'static VTable,
    data: Inline,
}

struct VTable {
    /// Takes the value out and calls it.
    call: unsafe fn(*mut Inline),
    /// Drops the value in place, if that does anything.
    drop: Option<unsafe fn(*mut Inline)>,
}

struct Of<F>(PhantomData<F>);

impl<F: FnOnce()> Of<F> {
    const FITS: bool = size_of::<F>() <= size_of::<Inline>() && align_of::<F>() <= align_of::<Inline>();

    const VTABLE: &'static VTable =
        &VTable { call: Self::call, drop: if needs_drop::<F>() { Some(Self::drop) } else { None } };

    /// # Safety
    /// `data` holds an `F`, which is not there any more afterwards.
    unsafe fn call(data: *mut Inline) {
        // SAFETY: the contract.
        let f = unsafe { data.cast::<F>().read() };
        f();
    }

    /// # Safety
    /// As [`call`](Self::call).
    unsafe fn drop(data: *mut Inline) {
        // SAFETY: the contract.
        unsafe { data.cast::<F>().drop_in_place() }
    }
}

impl Action {
    /// Calls `f`.
    pub(crate) fn call(f: impl FnOnce() + Send + 'static) -> Action {
        fn fits<F: FnOnce()>(_: &F) -> bool {
            Of::<F>::FITS
        }
        if fits(&f) { Action::put(f) } else { Action::put(Box::new(f)) }
    }

    /// Ends the current or the next park of a bthread.
    pub(crate) fn unpark(task: TaskRef) -> Action {
        Action::put(move || task.get().parker().unpark())
    }

    fn put<F: FnOnce() + Send + 'static>(f: F) -> Action {
        assert!(Of::<F>::FITS);
        let mut data = Inline::uninit();
        // SAFETY: large and aligned enough, as just asserted.
        unsafe { data.as_mut_ptr().cast::<F>().write(f) };
        Action { vtable: Of::<F>::VTABLE, data }
    }

    /// Does it. Runs code of a user, which may panic.
    pub(crate) fn run(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `put` has filled `data` for this vtable; the action is consumed and not dropped.
        unsafe { (this.vtable.call)(&mut this.data) }
    }
}

impl Drop for Action {
    fn drop(&mut self) {
        if let Some(drop) = self.vtable.drop {
            // SAFETY: as in `run`, which does not drop what it consumes.
            unsafe { drop(&mut self.data) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[repr(align(64))]
    struct Aligned(u8);

    /// A function of so many words, and one that no alignment of the inline place suits, each with its witness.
    fn functions(witness: &Arc<()>, runs: &Arc<AtomicUsize>) -> Vec<Action> {
        fn of<const WORDS: usize>(witness: &Arc<()>, runs: &Arc<AtomicUsize>) -> Action {
            let (witness, runs, words) = (witness.clone(), runs.clone(), [WORDS; WORDS]);
            Action::call(move || {
                assert!(words.iter().all(|word| *word == WORDS));
                runs.fetch_add(1, Ordering::Relaxed);
                drop(witness);
            })
        }
        let (also, aligned) = (witness.clone(), Aligned(7));
        let aligned = Action::call(move || {
            let aligned = &aligned;
            assert!(aligned.0 == 7 && std::ptr::from_ref(aligned).addr() % 64 == 0);
            drop(also);
        });
        let sizes = [of::<0>, of::<1>, of::<2>, of::<3>, of::<4>, of::<100>];
        sizes.iter().map(|of| of(witness, runs)).chain([aligned]).collect()
    }

    #[test]
    fn a_function_of_any_size_is_called_once_and_dropped_once() {
        let (witness, runs) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
        functions(&witness, &runs).into_iter().for_each(Action::run);
        assert_eq!((runs.load(Ordering::Relaxed), Arc::strong_count(&witness)), (6, 1));
        let dropped = functions(&witness, &runs);
        assert_eq!(Arc::strong_count(&witness), 8);
        drop(dropped);
        assert_eq!((runs.load(Ordering::Relaxed), Arc::strong_count(&witness)), (6, 1));
    }

    #[test]
    fn a_function_that_panics_is_dropped() {
        let witness = Arc::new(());
        let also = witness.clone();
        let panics = Action::call(move || {
            let _also = also;
            std::panic::resume_unwind(Box::new("a panic"));
        });
        assert!(catch_unwind(AssertUnwindSafe(|| panics.run())).is_err());
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[test]
    fn a_slot_is_a_cache_line() {
        assert_eq!(size_of::<Option<Action>>(), 48);
    }
}
