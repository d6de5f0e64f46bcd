//! Explorations from the outside: tests that fail on purpose are run in processes of their own, as a test harness is, and
//! what they print is looked at.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names the variable with the path of a socket.
const MEETING_PLACE: &str = "SIM_TEST_MEETING_PLACE";

/// The tests that are looked at. Ignored, as most of them fail.
mod on_purpose {
    use std::os::unix::net::UnixStream;
    use std::time::Duration;
    use std::{process, thread};

    use sim::{Explorer, World};

    /// Fails if two certain kinds of numbers come together, which about one seed in seven has.
    fn pairs(world: &World) {
        let numbers = world.plan("numbers", 30, |random| random.below(100));
        let _others = world.plan("others", 20, |random| random.below(100));
        println!("what a scenario prints is its own affair: bobsim\u{0}\u{1}");
        eprintln!("and so it is here");
        numbers.iter().for_each(|number| world.note(format_args!("number {number}")));
        if numbers.contains(&13) && numbers.contains(&77) {
            world.violation(format_args!("13 and 77 among {} numbers", numbers.len()));
        }
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn pair() {
        sim::explore(200, pairs);
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn pair_in_a_program() {
        Explorer::new().seeds(200).program().check(pairs);
    }

    #[test]
    #[ignore = "for the tests below"]
    fn clean() {
        sim::explore(20, |world: &World| {
            let numbers = world.plan("numbers", 3, |random| random.u64());
            numbers.iter().for_each(|number| world.note(number));
        });
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn nondeterministic() {
        sim::explore(20, |world: &World| {
            world.note("the same line each time");
            world.note(format_args!("process {}", process::id()));
        });
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn dying() {
        sim::explore(5..20, |world: &World| {
            if world.seed() >= 7 {
                eprintln!("these are the last words");
                process::abort();
            }
        });
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn hanging() {
        Explorer::new().seeds(3..5).run_limit(Duration::from_secs(1)).check(|_| {
            loop {
                thread::park();
            }
        });
    }

    /// Says that it is there to whoever listens at the path in the variable, and stays.
    #[test]
    #[ignore = "never ends"]
    fn staying() {
        Explorer::new().seeds(1).run_limit(Duration::from_secs(600)).check(|_| {
            let path = std::env::var_os(super::MEETING_PLACE).unwrap();
            let _here = UnixStream::connect(path).unwrap();
            loop {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    #[ignore = "fails on purpose"]
    fn second_of_two() {
        sim::explore(2, |world: &World| world.note("the first exploration"));
        sim::explore(2, |world: &World| {
            world.violation(format_args!("the second one's seed {}", world.seed()))
        });
    }
}

/// Runs one of the tests above: whether it passes, and what it prints.
fn run(test: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([&format!("on_purpose::{test}"), "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::null());
    ["SEEDS", "SEED", "OMIT", "TRACE", "TRACE_FILE", "JOBS", "RUN"].iter().for_each(|name| {
        command.env_remove(format!("BOBBIN_SIM_{name}"));
    });
    let output = command.env("RUST_BACKTRACE", "0").envs(environment.iter().copied()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("running 1 test\n"), "{text}");
    (output.status.success(), text)
}

/// What follows `label` in its line.
fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let (_, rest) = text.split_once(label).unwrap_or_else(|| panic!("{label:?} is not in {text}"));
    rest.lines().next().unwrap_or_default()
}

/// The lines of the trace.
fn trace(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| !line.starts_with("trace, ")).skip(1);
    lines.take_while(|line| line.starts_with("  ")).collect()
}

#[test]
fn a_failing_seed_is_shortened_and_replays() {
    for test in ["pair", "pair_in_a_program"] {
        let (passes, text) = run(test, &[]);
        assert!(!passes, "{text}");
        assert!(text.contains("fails: 13 and 77 among 30 numbers"), "{text}");
        assert!(text.contains("it fails then: 13 and 77 among 2 numbers"), "{text}");
        assert!(after(&text, "what is left of its plans: ").starts_with("2 of 50 elements"), "{text}");
        assert_eq!(after(&text, "  others: "), "0 of 20");
        let numbers = trace(&text).iter().filter(|line| line.contains("number ")).count();
        assert_eq!(numbers, 2, "{text}");

        let replay = after(&text, "replay: ");
        let seed = after(replay, "BOBBIN_SIM_SEED=").split(' ').next().unwrap();
        let omit = after(replay, "BOBBIN_SIM_OMIT=").split(' ').next().unwrap();
        let (passes, again) = run(test, &[("BOBBIN_SIM_SEED", seed), ("BOBBIN_SIM_OMIT", omit)]);
        assert!(!passes, "{again}");
        assert_eq!(trace(&again), trace(&text));
        assert_eq!(after(&again, "hash "), after(&text, "hash "));
        assert!(again.contains("what a scenario prints is its own affair"), "a replay shows it: {again}");
    }
}

#[test]
fn the_lowest_failing_seed_does_not_depend_on_how_many_run_at_a_time() {
    let seeds = ["1", "4"].map(|jobs| {
        let (_, text) = run("pair", &[("BOBBIN_SIM_JOBS", jobs)]);
        (
            after(&text, "seed ").to_owned(),
            after(&text, "  numbers: ").to_owned(),
            after(&text, "hash ").to_owned(),
        )
    });
    assert_eq!(seeds[0], seeds[1]);
}

#[test]
fn clean_seeds_are_summed_up_and_their_digest_stays() {
    let digests = ["1", "4"].map(|jobs| {
        let (passes, text) = run("clean", &[("BOBBIN_SIM_JOBS", jobs)]);
        assert!(passes && text.contains("20 seeds: none fails; "), "{text}");
        after(&text, "digest ").to_owned()
    });
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn the_environment_chooses_the_seeds() {
    let (passes, text) = run("clean", &[("BOBBIN_SIM_SEEDS", "100-102")]);
    assert!(passes && text.contains("\n3 seeds: none fails; "), "{text}");
    let (passes, text) = run("clean", &[("BOBBIN_SIM_SEED", "7")]);
    assert!(passes && text.contains("\n1 seed: none fails; "), "{text}");
    for (name, value) in [
        ("SEEDS", "no number"),
        ("SEED", "1-2"),
        ("OMIT", "x"),
        ("TRACE", "yes"),
        ("JOBS", "0"),
        ("RUN", "x"),
    ] {
        let name = format!("BOBBIN_SIM_{name}");
        let (passes, text) = run("clean", &[(&name, value)]);
        assert!(!passes && text.contains(&format!("the environment variable {name}: ")), "{text}");
    }
}

#[test]
fn the_whole_trace_goes_to_a_file_if_asked() {
    let file = std::env::temp_dir().join(format!("bobbin-sim-trace-{}", std::process::id()));
    let name = file.to_str().unwrap();
    let (_, text) = run("pair", &[("BOBBIN_SIM_TRACE_FILE", name)]);
    let written = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        written.lines().collect::<Vec<_>>(),
        trace(&text).iter().map(|line| &line[2..]).collect::<Vec<_>>()
    );
    assert!(text.contains(&format!("the whole trace: {name}")), "{text}");
}

#[test]
fn a_scenario_that_does_not_follow_from_its_seed_is_told_from_a_bug() {
    let (passes, text) = run("nondeterministic", &[]);
    assert!(!passes, "{text}");
    assert!(text.contains("seed 0 fails: it does not run the same way twice"), "{text}");
    assert!(text.contains("THE SCENARIO IS NOT DETERMINISTIC"), "{text}");
    assert!(text.contains("\nLine 3 is the first that differs:"), "{text}");
    assert!(text.contains("\nIn a trace that has each step: Line "), "{text}");
    assert!(after(&text, "\nafter: ").contains("the same line each time"), "{text}");
    assert!(after(&text, "\none: ").contains("process "), "{text}");
}

#[test]
fn a_process_that_dies_or_hangs_is_a_failing_seed() {
    let (passes, text) = run("dying", &[]);
    assert!(!passes, "{text}");
    assert!(after(&text, "seed 7 fails: its process has died: ").contains("signal: 6"), "{text}");
    assert!(text.contains("stderr: these are the last words"), "{text}");
    let (passes, text) = run("hanging", &[]);
    assert!(!passes, "{text}");
    assert!(text.contains("seed 3 fails: it has not ended within 1s of real time"), "{text}");
}

#[test]
fn a_child_runs_the_exploration_it_was_started_for() {
    let (passes, text) = run("second_of_two", &[]);
    assert!(!passes, "{text}");
    assert!(text.contains("2 seeds: none fails"), "{text}");
    assert!(text.contains("seed 0 fails: the second one's seed 0"), "{text}");
}

#[test]
fn children_do_not_outlive_their_parent() {
    let folder = std::env::temp_dir().join(format!("bobbin-sim-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut parent = Command::new(std::env::current_exe().unwrap())
        .args(["on_purpose::staying", "--exact", "--ignored", "--nocapture"])
        .env(MEETING_PLACE, &path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut child, _) = listener.accept().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    child.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(child.read(&mut [0]).unwrap(), 0, "the child is gone");
}
