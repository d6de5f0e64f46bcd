//! Reads any text as the value of a flag of each type, and as a command line.
#![no_main]

use bvar::flag::{self, AnyFlag, Flag};

static BOOL: Flag<bool> = Flag::new("fuzz_bool", false, "");
static INT32: Flag<i32> = Flag::new("fuzz_int32", -1, "").reloadable();
static INT64: Flag<i64> = Flag::new("fuzz_int64", 1, "").validated(|value| *value != 0);
static UINT64: Flag<u64> = Flag::new("fuzz_uint64", 1, "").reloadable();
static DOUBLE: Flag<f64> = Flag::new("fuzz_double", 0.5, "").reloadable();
static TEXT: Flag<String> = Flag::new("fuzz_text", "", "").reloadable();

const ALL: [&dyn AnyFlag; 6] = [&BOOL, &INT32, &INT64, &UINT64, &DOUBLE, &TEXT];

libfuzzer_sys::fuzz_target!(|text: &str| {
    flag::register(&ALL);
    for flag in ALL {
        if flag.set_text_at_start(text).is_ok() {
            // What a flag prints, it takes, and it stays the same.
            let printed = flag.value_text();
            flag.set_text_at_start(&printed).expect("a flag takes what it printed");
            assert_eq!(flag.value_text(), printed);
        }
    }
    assert_ne!(INT64.get(), 0, "the check was passed by");
    // Files are none of this target's business: neither those of flags nor those of a dump.
    if !text.contains("flagfile") && !text.contains("dump") {
        let _ = flag::parse_args(text.split('\n'));
    }
});
