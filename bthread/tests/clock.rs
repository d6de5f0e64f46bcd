//! A clock that the program moves: an hour of deadlines passes in no time, and none before its time. A process of its
//! own, as the clock is the process's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bthread::clock::{self, Clock};

/// Stands still until somebody moves it.
struct Moved {
    begin: Instant,
    seconds: Arc<AtomicU64>,
}

impl Clock for Moved {
    fn now(&self) -> Instant {
        self.begin + Duration::from_secs(self.seconds.load(Ordering::SeqCst))
    }

    fn patience(&self, until: Instant) -> Duration {
        if until <= self.now() { Duration::ZERO } else { Duration::from_millis(1) }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn deadlines_pass_when_the_clock_is_moved_and_not_before() {
    let seconds = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    clock::replace(Moved { begin, seconds: seconds.clone() }).unwrap();
    assert!(clock::replace(Moved { begin, seconds: seconds.clone() }).is_err());
    let (origin, date) = (clock::origin(), clock::wall());
    assert!(origin < begin, "a clock that is behind this one is not behind it");
    let (tell, told) = mpsc::channel();
    let wakers: [(&str, fn()); 3] = [
        ("sleep", || assert_eq!(bthread::sleep(HOUR), bthread::Slept::Full)),
        ("butex", || {
            let never = bthread::Butex::new(0);
            assert_eq!(never.wait(0, Some(clock::now() + HOUR)), bthread::WaitResult::TimedOut);
        }),
        ("channel", || {
            let (_sender, receiver) = bthread::sync::mpsc::channel::<u8>();
            assert!(receiver.recv_timeout(HOUR).is_err());
        }),
    ];
    for (name, wait) in wakers {
        for is_thread in [false, true] {
            let tell = tell.clone();
            let wait = move || {
                wait();
                tell.send((name, is_thread, clock::now())).unwrap();
            };
            if is_thread {
                std::thread::spawn(wait);
            } else {
                drop(bthread::spawn(wait));
            }
        }
    }
    let timed = tell.clone();
    let _timer = bthread::timer::schedule(begin + HOUR, move || {
        timed.send(("timer", false, clock::now())).unwrap();
    });
    // All of them look at a clock that stands still.
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
    assert_eq!((clock::origin(), clock::wall()), (origin, date));
    seconds.store(3599, Ordering::SeqCst);
    assert_eq!((clock::origin(), clock::wall()), (origin, date + Duration::from_secs(3599)));
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "an hour has not passed");
    // Those that began to wait only now, if any, have another hour.
    seconds.store(2 * 3600, Ordering::SeqCst);
    for _ in 0..7 {
        let (name, is_thread, when) = told.recv().unwrap();
        assert!(when >= begin + HOUR, "{name} {is_thread}");
    }
}
