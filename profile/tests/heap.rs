//! Profiles of the heap by jemalloc, each in a process that was started with the account it needs.

#![cfg(feature = "jemalloc")]

use std::hint::black_box;
use std::process::{Command, exit};

use profile::{Kind, Profile, StartError, Value, heap};

#[global_allocator]
static ALLOCATOR: profile::Jemalloc = profile::Jemalloc;

const WHICH: &str = "BOBBIN_TEST_IN_CHILD";

/// Runs `body` in a process started with this configuration of jemalloc.
fn with(configuration: &str, test: &str, body: impl FnOnce()) {
    if std::env::var(WHICH).is_ok_and(|which| which == test) {
        body();
        exit(0);
    }
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture"])
        .env(WHICH, test)
        .env("_RJEM_MALLOC_CONF", configuration)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "no test is called {test}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[inline(never)]
fn holds_memory(mebibytes: usize) -> Vec<Vec<u8>> {
    black_box((0..mebibytes).map(|_| black_box(vec![1; 1 << 20])).collect())
}

/// Bytes in stacks through [`holds_memory`].
fn held(profile: &Profile) -> i64 {
    profile
        .top(Value::Amount, usize::MAX)
        .iter()
        .filter(|row| row.name.contains("holds_memory"))
        .map(|row| row.cum)
        .max()
        .unwrap_or(0)
}

#[test]
fn what_is_held_is_seen_and_what_was_freed_has_grown() {
    let test = "what_is_held_is_seen_and_what_was_freed_has_grown";
    with("prof:true,prof_accum:true,lg_prof_sample:16", test, || {
        let before = bthread::spawn(heap::in_use).join().unwrap().unwrap();
        let kept = bthread::spawn(|| holds_memory(32)).join().unwrap();
        drop(holds_memory(32));
        let (in_use, growth) =
            (heap::in_use().unwrap(), profile::run(Kind::Growth, Default::default()).unwrap());
        drop(kept);
        let near = |bytes: i64, mebibytes: i64| (bytes >> 20).abs_diff(mebibytes) <= 3;
        assert!(near(held(&in_use), 32), "{}", in_use.to_top(Value::Amount, 20));
        assert!(near(held(&growth), 64), "{}", growth.to_top(Value::Amount, 20));
        let difference = heap::in_use().unwrap().minus(&in_use).unwrap();
        assert!(near(-held(&difference), 32), "{}", difference.to_top(Value::Amount, 20));
        assert!(near(held(&before), 0));
        assert!(String::from_utf8(in_use.to_legacy().unwrap()).unwrap().starts_with("heap profile: "));
    });
}

#[test]
fn without_an_account_the_error_says_how_to_get_one() {
    with("prof:false", "without_an_account_the_error_says_how_to_get_one", || {
        let Err(StartError::Disabled(reason)) = heap::in_use() else { panic!("a profile of nothing") };
        assert!(reason.contains("_RJEM_MALLOC_CONF=prof:true"), "{reason}");
    });
}

#[test]
fn growth_needs_an_account_of_what_was_freed() {
    with("prof:true", "growth_needs_an_account_of_what_was_freed", || {
        let Err(StartError::Disabled(reason)) = heap::growth() else { panic!("a profile of nothing") };
        assert!(reason.contains("prof_accum:true"), "{reason}");
    });
}
