//! What is dumped: filters, order, breaking off, and what happens to variables meanwhile.

use bvar::dump::{DumpError, DumpOptions, dump_exposed};
use bvar::wildcard::{ListTooLong, MAX_LIST_LEN};
use bvar::{
    Adder, DisplayFilter, Exposed, LatencyRecorder, LatencyUnit, PassiveStatus, Status, Variable,
    expose_filtered,
};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

fn numbers(prefix: &str, names: &[&str]) -> Vec<Exposed<Status<i64>>> {
    let number = |(i, name): (usize, &&str)| Status::new(i as i64).expose_as(prefix, name).unwrap();
    names.iter().enumerate().map(number).collect()
}

fn dumped(options: &DumpOptions) -> Vec<String> {
    let mut lines = Vec::new();
    let count = dump_exposed(options, |name, value| {
        lines.push(format!("{name}={value}"));
        ControlFlow::Continue(())
    });
    assert_eq!(count, Ok(lines.len()));
    assert!(lines.is_sorted_by_key(|line| line.split('=').next().unwrap().to_owned()));
    lines
}

fn filtered(white: &str, black: &str, question_mark: char) -> Vec<String> {
    let options = DumpOptions {
        white_wildcards: white.into(),
        black_wildcards: black.into(),
        question_mark,
        ..DumpOptions::default()
    };
    dumped(&options)
}

#[test]
fn lists_choose_what_is_dumped() {
    let _numbers = numbers("dump_lists", &["a1", "a2", "b1", "b22", "c"]);
    let all = ["dump_lists_a1=0", "dump_lists_a2=1", "dump_lists_b1=2", "dump_lists_b22=3", "dump_lists_c=4"];
    assert_eq!(filtered("dump_lists_*", "", '?'), all);
    assert_eq!(filtered("dump_lists_c;dump_lists_a2;nobody;dump_lists_a2", "", '?'), [all[1], all[4]]);
    assert_eq!(filtered("dump_lists_c,dump_lists_a2", "*_a2", '?'), [all[4]]);
    assert_eq!(filtered("dump_lists_b?", "", '?'), [all[2]]);
    assert_eq!(filtered("dump_lists_b$;dump_lists_c", "", '$'), [all[2], all[4]]);
    assert_eq!(filtered("dump_lists_*", "dump_lists_a?;*_c", '?'), [all[2], all[3]]);
    assert_eq!(filtered("dump_lists_*", "*", '?'), [""; 0]);
    let others = filtered("", "dump_lists_b*", '?');
    assert!(all[..2].iter().all(|line| others.contains(&(*line).to_owned())), "no list is no choice");
    assert!(!others.iter().any(|line| line.starts_with("dump_lists_b")));

    let too_long = DumpOptions { black_wildcards: "x".repeat(MAX_LIST_LEN + 1), ..DumpOptions::default() };
    let refused = dump_exposed(&too_long, |_, _| panic!("nothing is dumped"));
    assert_eq!(refused, Err(DumpError::Wildcards(ListTooLong)));
}

#[test]
fn text_is_quoted_if_wanted_and_stays_one_line() {
    let _text = Status::new("say \"hi\"\r\nbye\\".to_owned()).expose("dump_quotes_text").unwrap();
    let _vector = PassiveStatus::new(|| [1i64, 2]).expose("dump_quotes_vector").unwrap();
    let options = |quote_string| DumpOptions {
        quote_string,
        white_wildcards: "dump_quotes_*".into(),
        ..DumpOptions::default()
    };
    let quoted = [r#"dump_quotes_text="say \"hi\"\r\nbye\\""#, r#"dump_quotes_vector="[1,2]""#];
    assert_eq!(dumped(&options(true)), quoted);
    assert_eq!(dumped(&options(false)), ["dump_quotes_text=say \"hi\"\r\nbye\\", "dump_quotes_vector=[1,2]"]);
}

#[test]
fn only_what_is_meant_for_the_reader_is_dumped() {
    let _recorder = LatencyRecorder::new(LatencyUnit::Micros).expose("dump_display").unwrap();
    let _hidden =
        expose_filtered("dump_display_x_html", Arc::new(Status::new(1i64)), DisplayFilter::Html).unwrap();
    let names = |display_filter, white: &str| {
        let options = DumpOptions { display_filter, white_wildcards: white.into(), ..DumpOptions::default() };
        let lines = dumped(&options);
        lines
            .iter()
            .map(|line| line["dump_display_".len()..].split('=').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let text = [
        "count",
        "latency",
        "latency_80",
        "latency_90",
        "latency_99",
        "latency_999",
        "latency_9999",
        "max_latency",
        "qps",
    ];
    assert_eq!(names(DisplayFilter::Text, "dump_display_*"), text);
    let html = ["count", "latency", "latency_cdf", "latency_percentiles", "max_latency", "qps", "x_html"];
    assert_eq!(names(DisplayFilter::Html, "dump_display_*"), html);
    assert_eq!(names(DisplayFilter::Text, "dump_display_x_html;dump_display_qps"), ["qps"]);
}

#[test]
fn the_dumper_may_break_off() {
    let _numbers = numbers("dump_break", &["a", "b", "c"]);
    for white in ["dump_break_*", "dump_break_a,dump_break_b,dump_break_c"] {
        let options = DumpOptions { white_wildcards: white.into(), ..DumpOptions::default() };
        let mut seen = 0;
        let broken = dump_exposed(&options, |_, _| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((broken, seen), (Err(DumpError::Stopped), 2));
    }
}

#[test]
fn a_variable_that_panics_is_left_out() {
    let _numbers = numbers("dump_panic", &["a", "c"]);
    let _bad = PassiveStatus::new(|| -> i64 { panic!("of a test") }).expose("dump_panic_b").unwrap();
    assert_eq!(filtered("dump_panic_*", "", '?'), ["dump_panic_a=0", "dump_panic_c=1"]);
    assert_eq!(filtered("dump_panic_a,dump_panic_b", "", '?'), ["dump_panic_a=0"]);
}

#[test]
fn descriptions_and_the_dumper_may_use_the_registry() {
    let made = Mutex::new(Vec::new());
    let nested = PassiveStatus::new(|| {
        let own = Status::new(5i64).expose("dump_nested_own").unwrap();
        own.get() + i64::from(bvar::find("dump_nested_other").is_some())
    });
    let _nested = nested.expose("dump_nested").unwrap();
    let _other = numbers("dump_nested", &["other"]);
    let options =
        DumpOptions { white_wildcards: "dump_nested;dump_nested_oth*".into(), ..DumpOptions::default() };
    let count = dump_exposed(&options, |name, value| {
        let made_now = Adder::<i64>::new().expose_as("dump_made", name).unwrap();
        made.lock().unwrap().push((made_now, value.to_owned()));
        ControlFlow::Continue(())
    });
    assert_eq!(count, Ok(2));
    assert_eq!(made.lock().unwrap()[0].1, "6");
}

#[test]
fn variables_come_and_go_while_they_are_dumped() {
    let stop = AtomicBool::new(false);
    let _kept = numbers("dump_churn", &["0", "zz"]);
    thread::scope(|scope| {
        for thread in 0..2 {
            let stop = &stop;
            scope.spawn(move || {
                let mut round = 0;
                // Relaxed: the join of the scope orders the rest.
                while !stop.load(Relaxed) {
                    let names: Vec<String> = (0..300).map(|i| format!("m{thread}_{i}")).collect();
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    drop(numbers("dump_churn", &names));
                    round += 1;
                }
                round
            });
        }
        for _ in 0..50 {
            let lines = filtered("dump_churn_*", "", '?');
            assert_eq!(lines.first().unwrap(), "dump_churn_0=0");
            assert_eq!(lines.last().unwrap(), "dump_churn_zz=1");
        }
        stop.store(true, Relaxed);
    });
}
