//! The flags that can be found by name.
//!
//! Owns the process-wide map from names to flags, which starts with those of this crate. Flags are `static`s: none is ever removed.

use super::{AnyFlag, SetError};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard};

/// The most flags that can be registered.
pub const MAX_FLAGS: usize = 1 << 14;

type Flags = BTreeMap<&'static str, &'static dyn AnyFlag>;

static FLAGS: LazyLock<RwLock<Flags>> = LazyLock::new(|| {
    let own = super::own::OWN.iter().copied().flatten();
    RwLock::new(own.map(|flag| (flag.name(), *flag)).collect())
});

fn read() -> RwLockReadGuard<'static, Flags> {
    FLAGS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Makes `flags` visible by name. One that is registered already stays so.
///
/// *Blocking:* the thread, for the time of a short internal lock.
///
/// # Panics
/// If another flag has the name of one of them, a name is not made of ASCII letters, digits and `_`, or more
/// than [`MAX_FLAGS`] would be registered: mistakes of the program, to be seen when it starts.
pub fn register(flags: &[&'static dyn AnyFlag]) {
    let mut wrong = None;
    let mut known = FLAGS.write().unwrap_or_else(PoisonError::into_inner);
    for flag in flags {
        let name = flag.name();
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let full = known.len() >= MAX_FLAGS;
        match known.entry(name) {
            Entry::Occupied(other) if std::ptr::addr_eq(*other.get(), *flag) => {}
            Entry::Vacant(place) if is_name && !full => {
                place.insert(*flag);
            }
            Entry::Occupied(other) => {
                wrong = Some(format!("flag {name} is defined in {} too", other.get().defined_at()))
            }
            Entry::Vacant(_) if full => wrong = Some(format!("more than {MAX_FLAGS} flags")),
            Entry::Vacant(_) => wrong = Some(format!("{name:?} cannot be the name of a flag")),
        }
    }
    drop(known);
    if let Some(wrong) = wrong {
        panic!("{wrong}");
    }
}

/// The flag of this name, if it is registered.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn find(name: &str) -> Option<&'static dyn AnyFlag> {
    read().get(name).copied()
}

/// All registered flags, sorted by name.
///
/// *Blocking:* the thread, for the time of a short internal lock.
pub fn all() -> Vec<&'static dyn AnyFlag> {
    read().values().copied().collect()
}

/// Sets the flag of this name in a running process.
///
/// # Errors
/// [`SetError::Unknown`], or as [`AnyFlag::set_text`].
///
/// *Blocking:* as [`AnyFlag::set_text`].
pub fn set(name: &str, text: &str) -> Result<(), SetError> {
    find(name).ok_or_else(|| SetError::Unknown(name.to_owned()))?.set_text(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flag::Flag;
    use crate::variable::Value;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    static FIXED: Flag<u64> = Flag::new("flag_test_fixed", 64 << 20, "Set at the start only");
    static LIMIT: Flag<i32> =
        Flag::new("flag_test_limit", 100, "Must be positive").validated(|limit| *limit > 0);
    static GREETING: Flag<String> = Flag::new("flag_test_greeting", "hello", "Any text").reloadable();
    static RATIO: Flag<f64> = Flag::new("flag_test_ratio", 0.02, "Any number").reloadable();

    #[test]
    fn flags_are_found_once_registered() {
        static LATE: Flag<bool> = Flag::new("flag_test_late", true, "Registered by this test");
        assert!(find("flag_test_late").is_none());
        assert!(LATE.get());
        register(&[&LATE, &LATE]);
        register(&[&LATE]);
        let found = find("flag_test_late").unwrap();
        assert_eq!(
            (found.type_name(), found.default_text(), found.is_reloadable()),
            ("bool", "true".into(), false)
        );
        assert_eq!(found.description(), "Registered by this test");
        assert!(found.defined_at().ends_with("flag/registry.rs"), "{}", found.defined_at());
        assert!(all().is_sorted_by_key(|flag| flag.name()));
        assert_eq!(all().iter().filter(|flag| flag.name() == "flag_test_late").count(), 1);
    }

    #[test]
    fn what_may_be_set_when() {
        register(&[&FIXED, &LIMIT, &GREETING, &RATIO]);
        assert_eq!(set("flag_test_nothing", "1"), Err(SetError::Unknown("flag_test_nothing".into())));
        assert_eq!(set("flag_test_fixed", "1"), Err(SetError::NotReloadable("flag_test_fixed")));
        assert!(matches!(set("flag_test_limit", "-3"), Err(SetError::Invalid { .. })));
        assert!(matches!(set("flag_test_limit", "3x"), Err(SetError::Invalid { .. })));
        assert!(
            matches!(LIMIT.set(0), Err(SetError::Invalid { .. })),
            "the program's own hand is checked too"
        );
        assert!(matches!(RATIO.set(f64::NAN), Err(SetError::Invalid { .. })));
        assert_eq!((LIMIT.get(), find("flag_test_limit").unwrap().is_default()), (100, true));

        set("flag_test_limit", "50").unwrap();
        set("flag_test_greeting", "").unwrap();
        set("flag_test_ratio", "2.5").unwrap();
        FIXED.set(7).unwrap();
        assert_eq!((LIMIT.get(), GREETING.get(), RATIO.get(), FIXED.get()), (50, String::new(), 2.5, 7));
        let limit = find("flag_test_limit").unwrap();
        assert_eq!(
            (limit.value_text(), limit.default_text(), limit.is_default()),
            ("50".into(), "100".into(), false)
        );
        assert_eq!(find("flag_test_greeting").unwrap().value(), Value::Text(String::new()));
        set("flag_test_greeting", "hello").unwrap();
        set("flag_test_limit", "100").unwrap();
        assert!(limit.is_default() && find("flag_test_greeting").unwrap().is_default());
    }

    #[test]
    fn extremes_survive_their_cell() {
        static LOW: Flag<i64> = Flag::new("flag_test_low", i64::MIN, "");
        static NEGATIVE: Flag<i32> = Flag::new("flag_test_negative", -1, "");
        static OFF: Flag<bool> = Flag::new("flag_test_off", false, "");
        assert_eq!((LOW.get(), NEGATIVE.get(), OFF.get()), (i64::MIN, -1, false));
        LOW.set(i64::MAX).unwrap();
        NEGATIVE.set(i32::MIN).unwrap();
        OFF.set(true).unwrap();
        assert_eq!((LOW.get(), NEGATIVE.get(), OFF.get()), (i64::MAX, i32::MIN, true));
    }

    #[test]
    fn a_change_is_told() {
        static CHANGES: AtomicU32 = AtomicU32::new(0);
        fn changed() {
            // Relaxed: one thread. The registry is free meanwhile.
            CHANGES.fetch_add(find("flag_test_told").is_some() as u32, Relaxed);
        }
        static TOLD: Flag<i64> =
            Flag::new("flag_test_told", 1, "").validated(|value| *value < 10).on_change(changed);
        register(&[&TOLD]);
        assert!(TOLD.set(10).is_err());
        assert_eq!(CHANGES.load(Relaxed), 0);
        TOLD.set(2).unwrap();
        set("flag_test_told", "3").unwrap();
        assert_eq!(CHANGES.load(Relaxed), 2);
    }

    #[test]
    #[should_panic(expected = "flag flag_test_twice is defined in")]
    fn two_flags_of_one_name_are_a_mistake() {
        static ONE: Flag<bool> = Flag::new("flag_test_twice", true, "");
        static TWO: Flag<bool> = Flag::new("flag_test_twice", true, "");
        register(&[&ONE, &TWO]);
    }

    #[test]
    #[should_panic(expected = "cannot be the name of a flag")]
    fn names_are_words() {
        static WRONG: Flag<bool> = Flag::new("flag-test", true, "");
        register(&[&WRONG]);
    }
}
