//! Nodes, time and the conductor, without a network: each test is one scenario, run in fresh processes.

mod fresh;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bthread::sync::mpsc;
use fresh::runs;
use sim::{Options, run};

fn traced() -> Options {
    Options { trace: true, ..Options::default() }
}

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

/// Several bthreads on each of two nodes that sleep, yield and note what they do.
#[test]
fn a_seed_gives_the_same_trace_again_and_another_seed_another() {
    // 1007 and 2007 are 7 with another trace.
    let seeds = [7, 7, 8, 1007, 2007];
    let reports = runs("a_seed_gives_the_same_trace_again_and_another_seed_another", seeds, |seed| {
        let options = Options { trace: seed < 2000, trace_steps: seed > 1000, ..Options::default() };
        run(seed % 1000, &options, |world| {
            let mut all = Vec::new();
            for name in ["a", "b"] {
                let node = world.node(name);
                for number in 0..5 {
                    let world = world.clone();
                    all.push(node.spawn(move || {
                        let mut random = world.random();
                        for round in 0..20 {
                            bthread::sleep(random.duration(MS(0), MS(3)));
                            world.note(format_args!("{number} in round {round}"));
                            bthread::yield_now();
                        }
                    }));
                }
            }
            all.into_iter().for_each(|one| one.join().unwrap());
        })
    });
    assert_eq!(reports[0], reports[1]);
    assert!(reports[0].violations.is_empty(), "{:?}", reports[0].violations);
    assert!(reports[0].trace.len() > 200);
    assert_ne!(reports[0].trace_hash, reports[2].trace_hash);
    assert_ne!(reports[0].trace, reports[2].trace);
    assert_eq!(reports[3].trace_hash, reports[0].trace_hash);
    assert!(reports[3].trace.iter().any(|line| line.contains("a worker 1 makes step")));
    assert_eq!((reports[4].trace_hash, reports[4].trace.len()), (reports[0].trace_hash, 0));
}

#[test]
fn an_hour_of_a_quiet_cluster_takes_no_time() {
    let began = Instant::now();
    let reports = runs("an_hour_of_a_quiet_cluster_takes_no_time", 0..4, |seed| {
        run(seed, &Options { time_limit: S(3700), ..Options::default() }, |world| {
            for name in ["a", "b"] {
                world.node(name).spawn(|| {
                    loop {
                        bthread::sleep(S(1));
                    }
                });
            }
            bthread::sleep(S(3600));
            assert!(world.now() >= S(3600));
        })
    });
    for report in &reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        // Ten minutes more for what the scenario has left behind.
        assert!(report.virtual_time >= S(4200) && report.virtual_time < S(4201), "{:?}", report.virtual_time);
        assert!(report.steps < 100_000, "something ticks: {}", report.steps);
    }
    println!("{:?} for {} runs", began.elapsed(), reports.len());
}

#[test]
fn a_deadlock_is_found_and_says_who_waits() {
    let reports = runs("a_deadlock_is_found_and_says_who_waits", 0..5, |seed| {
        run(seed, &Options::default(), |world| {
            let (to_a, from_b) = mpsc::sync_channel::<u32>(1);
            let (to_b, from_a) = mpsc::sync_channel::<u32>(1);
            let wait = |name: &str, inlet: mpsc::Receiver<u32>, outlet: mpsc::SyncSender<u32>| {
                let name = name.to_owned();
                move || {
                    let inner = bthread::Builder::new().name(name).spawn(move || {
                        let _ = outlet.send(inlet.recv().unwrap());
                    });
                    inner.unwrap().join().unwrap();
                }
            };
            let a = world.node("a").spawn(wait("reader", from_b, to_b));
            let b = world.node("b").spawn(wait("writer", from_a, to_a));
            a.join().unwrap();
            b.join().unwrap();
        })
    });
    for report in reports {
        let [violation] = &report.violations[..] else { panic!("{:?}", report.violations) };
        for part in [
            "deadlock at",
            "'reader' on a waits for a channel",
            "'writer' on b waits for a channel",
            "on world",
        ] {
            assert!(violation.contains(part), "{part}: {violation}");
        }
        assert!(!violation.contains("0x"));
    }
}

/// What panics in the middle of the world's own affairs is a violation like any other: nothing that its report needs is
/// locked.
#[test]
fn misuse_of_the_world_is_reported() {
    let reports = runs("misuse_of_the_world_is_reported", 0..3, |seed| {
        run(seed, &Options::default(), move |world| {
            let node = world.node("a");
            match seed {
                0 => node.set_drift(600_000),
                1 => node.set_drift(i32::MIN),
                _ => drop(world.node("a")),
            }
        })
    });
    for report in reports {
        let [violation] = &report.violations[..] else { panic!("{:?}", report.violations) };
        assert!(violation.starts_with("panic on world at world.rs:"), "{violation}");
    }
}

#[test]
fn a_crash_freezes_a_node_and_a_restart_makes_a_new_one() {
    let reports = runs("a_crash_freezes_a_node_and_a_restart_makes_a_new_one", 0..20, |seed| {
        run(seed, &traced(), |world| {
            let node = world.node("a");
            let beats = Arc::new(AtomicU64::new(0));
            let beat = |beats: &Arc<AtomicU64>| {
                let beats = beats.clone();
                move || loop {
                    bthread::sleep(MS(10));
                    beats.fetch_add(1, Ordering::Relaxed);
                }
            };
            node.spawn(beat(&beats));
            bthread::sleep(S(1));
            node.crash();
            let at_crash = beats.load(Ordering::Relaxed);
            assert!((60..=100).contains(&at_crash), "{at_crash}");
            assert!(!node.is_up());
            assert_eq!(node.try_spawn(|| ()).unwrap_err().kind(), std::io::ErrorKind::NetworkDown);
            bthread::sleep(S(1));
            assert!(beats.load(Ordering::Relaxed) == at_crash);
            node.restart();
            assert_eq!((node.incarnation(), node.is_up()), (1, true));
            bthread::sleep(S(1));
            assert!(beats.load(Ordering::Relaxed) == at_crash);
            node.spawn(beat(&beats));
            bthread::sleep(S(1));
            assert!(beats.load(Ordering::Relaxed) > at_crash + 50);
            node.restart();
            node.restart();
            assert_eq!(node.spawn(|| 5).join().unwrap(), 5);
            node.crash();
        })
    });
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        assert!(report.trace.join("\n").contains("a restarts as incarnation 3"));
        assert!(
            report.trace.last().unwrap().contains("nothing is left to do"),
            "{}",
            report.trace.join("\n")
        );
    }
}

#[test]
fn a_clock_that_drifts_fires_its_timers_early_or_late() {
    let reports = runs("a_clock_that_drifts_fires_its_timers_early_or_late", 0..20, |seed| {
        run(seed, &Options::default(), |world| {
            for (name, drift, least) in
                [("fast", 100_000, 90.909), ("slow", -100_000, 111.11), ("right", 0, 100.0)]
            {
                let node = world.node(name);
                node.set_drift(drift);
                let began = world.now();
                let shown = node.spawn(|| {
                    let (began, system) = (bthread::clock::now(), Instant::now());
                    bthread::sleep(S(100));
                    assert_eq!(bthread::clock::now() - began, system.elapsed());
                    system.elapsed()
                });
                let shown = shown.join().unwrap();
                let took = (world.now() - began).as_secs_f64();
                assert!(shown >= S(100) && shown < S(100) + MS(20), "{name}: {shown:?}");
                assert!(took >= least && took < least + 0.1, "{name}: {took}");
            }
        })
    });
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
    }
}

#[test]
fn a_paused_node_stands_still_while_its_clock_goes_on() {
    let reports = runs("a_paused_node_stands_still_while_its_clock_goes_on", 0..20, |seed| {
        run(seed, &Options::default(), |world| {
            let node = world.node("a");
            let sleeper = node.spawn(|| {
                let began = Instant::now();
                bthread::sleep(S(1));
                began.elapsed()
            });
            bthread::sleep(MS(500));
            node.pause();
            bthread::sleep(S(10));
            assert!(!sleeper.is_finished());
            node.resume();
            let slept = sleeper.join().unwrap();
            assert!(slept >= MS(10_490) && slept < MS(10_600), "{slept:?}");
        })
    });
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
    }
}

#[test]
fn a_slow_node_takes_its_time_and_holds_up_nobody_else() {
    let reports = runs("a_slow_node_takes_its_time_and_holds_up_nobody_else", 0..20, |seed| {
        run(seed, &Options { workers: 1, ..Options::default() }, |world| {
            let took = ["slow", "fast"].map(|name| {
                let node = world.node(name);
                if name == "slow" {
                    node.slow_down(S(1));
                }
                let world = world.clone();
                node.spawn(move || {
                    (0..200).for_each(|_| bthread::yield_now());
                    world.now()
                })
            });
            let [slow, fast] = took.map(|one| one.join().unwrap());
            assert!(slow >= S(3) && fast < S(1), "{slow:?} {fast:?}");
        })
    });
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
    }
}

#[test]
fn std_gives_virtual_time_and_seeded_keys() {
    let reports = runs("std_gives_virtual_time_and_seeded_keys", [3, 3, 4], |seed| {
        run(seed, &traced(), |world| {
            let began = (Instant::now(), SystemTime::now());
            world.note(format_args!("{:?}", began.1.duration_since(UNIX_EPOCH).unwrap()));
            bthread::sleep(S(1_000));
            let passed = began.0.elapsed();
            assert!(passed >= S(1_000) && passed < S(1_001), "{passed:?}");
            assert_eq!(began.1.elapsed().unwrap(), passed);
            let map: HashMap<u32, ()> = (0..50).map(|key| (key, ())).collect();
            let set: HashSet<&str> = ["a", "b", "c", "d", "e", "f"].into();
            world.note(format_args!("{:?} {set:?}", map.keys().collect::<Vec<_>>()));
            let node = world.node("ahead");
            node.set_wall_clock_ahead(-5_000);
            let behind = node.spawn(SystemTime::now).join().unwrap();
            let behind = SystemTime::now().duration_since(behind).unwrap();
            assert!(behind >= S(5) && behind < S(6), "{behind:?}");
            // A thread of the system lives in the system's time.
            let real = std::thread::spawn(SystemTime::now).join().unwrap();
            assert!(real > began.1 + S(86_400 * 30), "{real:?}");
            // Who waits for the time to pass without waiting gets there.
            let began = Instant::now();
            while began.elapsed() < MS(20) {}
            let began = Instant::now();
            while began.elapsed() < MS(20) {
                bthread::yield_now();
            }
        })
    });
    for report in &reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
    }
    assert_eq!(reports[0], reports[1]);
    assert_ne!(reports[0].trace, reports[2].trace, "the keys follow from the seed");
}

#[test]
fn bounds_and_panics_are_violations() {
    let reports = runs("bounds_and_panics_are_violations", 0..9, |seed| {
        let options = Options { time_limit: S(10), steps_max: 50_000, trace: true, ..Options::default() };
        run(seed, &options, move |world| {
            let node = world.node("a");
            match seed {
                0 => drop(bthread::sleep(S(11))),
                1 => loop {
                    bthread::yield_now();
                },
                2 => drop(node.spawn(|| panic!("on purpose"))),
                3 => {
                    world.expect_panics(true);
                    assert!(node.spawn(|| panic!("on purpose")).join().is_err());
                }
                4 => panic!("in the scenario"),
                5 => (0..70).for_each(|_| node.restart()),
                6 => drop(world.node("a")),
                7 => (0..70).for_each(|number| drop(world.node(&number.to_string()))),
                _ => node.set_drift(i32::MIN),
            }
        })
    });
    let only = |number: usize| match &reports[number].violations[..] {
        [one] => one.as_str(),
        other => panic!("{number}: {other:?}"),
    };
    assert_eq!(only(0), "the scenario has not returned within 10s");
    assert_eq!(only(1), "no end after 50000 steps");
    assert!(
        only(2).starts_with("panic on a at world.rs:") && only(2).ends_with(": on purpose"),
        "{}",
        only(2)
    );
    assert!(reports[3].violations.is_empty() && reports[3].trace.join("\n").contains("a panic at world.rs:"));
    assert!(only(4).starts_with("panic on world at world.rs:"), "{}", only(4));
    assert!(only(5).contains("node a cannot start") && only(5).contains("63 at most"), "{}", only(5));
    assert!(only(6).ends_with(": there is a node called a already"), "{}", only(6));
    assert!(only(7).ends_with(": more than 63 nodes"), "{}", only(7));
    assert!(only(8).ends_with(": a drift beyond 500000 parts per million"), "{}", only(8));
}

/// One node spins while the other could go on all the time: chances that are the same for both would never keep it waiting
/// for so long.
#[test]
fn some_seeds_starve_a_worker_that_could_go_on() {
    let reports = runs("some_seeds_starve_a_worker_that_could_go_on", 0..40, |seed| {
        run(seed, &Options { workers: 1, trace: true, ..Options::default() }, |world| {
            let turns = Arc::new(AtomicU64::new(0));
            let ends = Arc::new(AtomicU64::new(0));
            let (count, until) = (turns.clone(), ends.clone());
            let starved = world.node("starved").spawn(move || {
                while until.load(Ordering::Relaxed) == 0 {
                    count.fetch_add(1, Ordering::Relaxed);
                    bthread::yield_now();
                }
            });
            let world_of_spinner = world.clone();
            let spinner = world.node("spinner").spawn(move || {
                while turns.load(Ordering::Relaxed) == 0 {
                    bthread::yield_now();
                }
                let mut longest = 0;
                let (mut seen, mut since) = (0, 0);
                for _ in 0..5_000 {
                    bthread::yield_now();
                    let now = turns.load(Ordering::Relaxed);
                    since = if now == seen { since + 1 } else { 0 };
                    seen = now;
                    longest = longest.max(since);
                }
                world_of_spinner.note(format_args!("longest {longest}"));
            });
            spinner.join().unwrap();
            ends.store(1, Ordering::Relaxed);
            starved.join().unwrap();
        })
    });
    let longest = |report: &fresh::Report| -> u64 {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        let line = report.trace.iter().find_map(|line| line.split_once("longest "));
        line.unwrap().1.parse().unwrap()
    };
    let all: Vec<u64> = reports.iter().map(longest).collect();
    assert!(all.iter().any(|longest| *longest >= 200), "{all:?}");
    assert!(all.iter().any(|longest| *longest < 100), "{all:?}");
}

/// What variables keep of the past goes on in virtual time, where it is asked for.
#[test]
fn variables_are_sampled_in_virtual_time_if_asked_for() {
    let reports = runs("variables_are_sampled_in_virtual_time_if_asked_for", [0, 1], |seed| {
        run(seed, &Options { sample_variables: seed == 1, trace: true, ..Options::default() }, |world| {
            let count = Arc::new(bvar::Adder::<u64>::new());
            let window = bvar::Window::new(count.clone(), 10);
            for _ in 0..100 {
                bthread::sleep(S(1));
                count.add(1);
            }
            world.note(format_args!("window {}", window.get()));
        })
    });
    assert!(reports[0].trace.join("\n").contains("window 0"), "{}", reports[0].trace.join("\n"));
    let line = reports[1].trace.iter().find_map(|line| line.split_once("window ")).unwrap();
    let counted: u64 = line.1.parse().unwrap();
    assert!((9..=11).contains(&counted), "{counted}");
}

/// Two workers, several senders and receivers, a lock and a counter: what holds on threads holds here, in any order.
#[test]
fn channels_between_workers_keep_their_promises_under_200_seeds() {
    let reports = runs("channels_between_workers_keep_their_promises_under_200_seeds", 0..200, |seed| {
        run(seed, &traced(), |world| {
            const SENDERS: u64 = 3;
            const EACH: u64 = 40;
            let node = world.node("a");
            let (outlet, inlet) = mpsc::sync_channel::<(u64, u64)>(4);
            let order = Arc::new(bthread::sync::Mutex::new(Vec::new()));
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| {
                    let (outlet, order) = (outlet.clone(), order.clone());
                    node.spawn(move || {
                        for number in 0..EACH {
                            outlet.send((sender, number)).unwrap();
                            let mut order = order.lock().unwrap();
                            order.push(sender);
                            if number % 7 == 0 {
                                bthread::yield_now();
                            }
                        }
                    })
                })
                .collect();
            drop(outlet);
            let received = node.spawn(move || {
                let mut next = [0; SENDERS as usize];
                while let Ok((sender, number)) = inlet.recv() {
                    assert_eq!(next[sender as usize], number);
                    next[sender as usize] += 1;
                }
                next
            });
            assert_eq!(received.join().unwrap(), [EACH; SENDERS as usize]);
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            world.note(format_args!("{:?}", order.lock().unwrap()));
        })
    });
    let mut orders = HashSet::new();
    for report in &reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        let line = report.trace.iter().find(|line| line.contains('[')).unwrap();
        orders.insert(line.split_once('[').unwrap().1.to_owned());
    }
    assert!(orders.len() > 50, "only {} orders", orders.len());
}
