use bthread::{Butex, Runtime};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn rt(n: usize) -> Runtime {
    Runtime::builder().workers(n).start().unwrap()
}

#[test]
fn yield_vs_timer() {
    let f = Arc::new(AtomicBool::new(false));
    let g = f.clone();
    let start = Instant::now();
    rt(1)
        .spawn(move || {
            let h = g.clone();
            let _ = bthread::timer::schedule(Instant::now(), move || h.store(true, Ordering::Release));
            let mut n = 0u64;
            while !g.load(Ordering::Acquire) {
                bthread::yield_now();
                n += 1;
                if start.elapsed() > Duration::from_secs(3) {
                    panic!("starved after {n} yields");
                }
            }
        })
        .join()
        .unwrap();
}
#[test]
fn yield_vs_injector() {
    let r = rt(1);
    let stop = Arc::new(AtomicBool::new(false));
    let s = stop.clone();
    let y = r.spawn(move || {
        while !s.load(Ordering::Acquire) {
            bthread::yield_now()
        }
    });
    let i = r.spawn(|| 1);
    let start = Instant::now();
    while !i.is_finished() {
        if start.elapsed() > Duration::from_secs(3) {
            stop.store(true, Ordering::Release);
            y.join().unwrap();
            panic!("injector starved");
        }
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Release);
}
struct D<F: Fn() + Send + Sync + 'static>(F);
impl<F: Fn() + Send + Sync + 'static> bthread::Deferred for D<F> {
    fn run(self: Arc<Self>) {
        (self.0)()
    }
}

#[test]
fn deferred_yields() {
    let r = rt(1);
    for _ in 0..20 {
        r.spawn(|| {
            let b = Arc::new(Butex::new(0));
            let c = b.clone();
            let _ = bthread::timer::schedule(Instant::now() + Duration::from_millis(5), move || {
                c.value().store(1, Ordering::Release);
                c.wake_all();
            });
            let _ = bthread::defer(Arc::new(D(|| {
                bthread::sleep(Duration::from_millis(1));
                bthread::yield_now();
                bthread::yield_now();
            })));
            for _ in 0..100 {
                bthread::yield_now();
            }
            while b.value().load(Ordering::Acquire) == 0 {
                let _ = b.wait(0, None);
            }
        })
        .join()
        .unwrap();
    }
}
#[test]
fn deferred_defers() {
    let r = rt(1);
    let n = Arc::new(AtomicUsize::new(0));
    let m = n.clone();
    r.spawn(move || {
        let _ = bthread::defer(Arc::new(D(move || {
            let m2 = m.clone();
            let _ = bthread::defer(Arc::new(D(move || {
                m2.fetch_add(1, Ordering::Release);
            })));
        })));
    })
    .join()
    .unwrap();
    let start = Instant::now();
    while n.load(Ordering::Acquire) == 0 {
        assert!(start.elapsed() < Duration::from_secs(3), "deferred lost");
        std::thread::yield_now();
    }
}
#[test]
fn next_starves_deque() {
    let r = rt(1);
    r.spawn(|| {
        let f = Arc::new(AtomicBool::new(false));
        let g = f.clone();
        let start = Instant::now();
        drop(bthread::spawn(move || g.store(true, Ordering::Release)));
        while !f.load(Ordering::Acquire) {
            bthread::spawn_next(|| ());
            bthread::yield_now();
            assert!(start.elapsed() < Duration::from_secs(3), "deque starved");
        }
    })
    .join()
    .unwrap();
}
#[test]
fn timer_reschedules_in_the_past() {
    let r = rt(1);
    let stop = Arc::new(AtomicBool::new(false));
    fn again(at: Instant, stop: Arc<AtomicBool>) {
        if stop.load(Ordering::Acquire) {
            return;
        }
        let _ = bthread::timer::schedule(at, move || again(at, stop));
    }
    let s = stop.clone();
    r.spawn(move || again(Instant::now(), s)).join().unwrap();
    let i = r.spawn(|| 1);
    let start = Instant::now();
    while !i.is_finished() {
        if start.elapsed() > Duration::from_secs(3) {
            stop.store(true, Ordering::Release);
            panic!("timers starve all");
        }
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Release);
}
#[test]
fn starved_and_busy_recovers() {
    let r = Runtime::builder().workers(1).stacks_max(4).start().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let s = stop.clone();
    let y = r.spawn(move || {
        while !s.load(Ordering::Acquire) {
            bthread::yield_now()
        }
    });
    let b = Arc::new(Butex::new(0));
    let mut w = vec![];
    loop {
        let b = b.clone();
        match bthread::Builder::new().spawn_on(r, move || {
            while b.value().load(Ordering::Acquire) == 0 {
                let _ = b.wait(0, None);
            }
        }) {
            Ok(h) => w.push(h),
            Err(_) => break,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    b.value().store(1, Ordering::Release);
    b.wake_all();
    let start = Instant::now();
    let res = loop {
        if let Ok(h) = bthread::Builder::new().spawn_on(r, || 1) {
            break Some(h);
        }
        if start.elapsed() > Duration::from_secs(3) {
            break None;
        }
        std::thread::yield_now();
    };
    stop.store(true, Ordering::Release);
    assert!(res.is_some(), "starved for ever");
    y.join().unwrap();
    w.into_iter().for_each(|w| w.join().unwrap());
}
#[test]
fn hoarded_stacks() {
    for _ in 0..20 {
        let r = Runtime::builder().workers(2).stacks_max(8).start().unwrap();
        let b = Arc::new(Butex::new(0));
        let mut w = vec![];
        let start = Instant::now();
        loop {
            let b = b.clone();
            match bthread::Builder::new().spawn_on(r, move || {
                while b.value().load(Ordering::Acquire) == 0 {
                    let _ = b.wait(0, None);
                }
            }) {
                Ok(h) => w.push(h),
                Err(_) => break,
            }
            if start.elapsed() > Duration::from_millis(100) {
                println!("never exhausted {:?}", r.stats());
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        b.value().store(1, Ordering::Release);
        b.wake_all();
        let start = Instant::now();
        w.into_iter().for_each(|w| w.join().unwrap());
        for _ in 0..100 {
            let h = loop {
                if let Ok(h) = bthread::Builder::new().spawn_on(r, || 1) {
                    break h;
                }
                assert!(start.elapsed() < Duration::from_secs(3), "no stacks come back {:?}", r.stats());
                std::thread::yield_now();
            };
            while !h.is_finished() {
                assert!(start.elapsed() < Duration::from_secs(3), "task stuck {:?}", r.stats());
                std::thread::yield_now();
            }
        }
    }
}
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("drop bomb")
    }
}
#[test]
fn payload_bomb_in_timer() {
    let r = rt(1);
    r.spawn(|| {
        let _ = bthread::timer::schedule(Instant::now(), || std::panic::panic_any(Bomb));
        bthread::sleep(Duration::from_millis(2));
    })
    .join()
    .unwrap();
}

#[test]
fn exhausted_stress() {
    // Many workers, few stacks, spawns from everywhere; ends only if nothing gets lost.
    let r = Runtime::builder().workers(4).stacks_max(24).start().unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let start = Instant::now();
    let mut refused = 0u64;
    for n in 0..20_000usize {
        let d = done.clone();
        let s2 = started.clone();
        loop {
            let d = d.clone();
            let s2 = s2.clone();
            match bthread::Builder::new().spawn_on(r, move || {
                match n % 4 {
                    0 => bthread::yield_now(),
                    1 => bthread::sleep(Duration::from_micros(300)),
                    2 => {
                        let d = d.clone();
                        if let Ok(h) = bthread::Builder::new().spawn(move || {
                            bthread::yield_now();
                            d.fetch_add(0, Ordering::Relaxed);
                        }) {
                            drop(h);
                        }
                    }
                    _ => {}
                }
                d.fetch_add(1, Ordering::Relaxed);
            }) {
                Ok(h) => {
                    s2.fetch_add(1, Ordering::Relaxed);
                    drop(h);
                    break;
                }
                Err(_) => {
                    refused += 1;
                    std::thread::yield_now();
                    assert!(start.elapsed() < Duration::from_secs(60), "refused for ever {:?}", r.stats());
                }
            }
        }
    }
    while done.load(Ordering::Relaxed) < started.load(Ordering::Relaxed) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "stuck {} {:?}",
            done.load(Ordering::Relaxed),
            r.stats()
        );
        std::thread::yield_now();
    }
    println!("refused {refused} {:?} {:?}", start.elapsed(), r.stats());
}
#[test]
fn deferred_blocks_hard() {
    let r = rt(2);
    let fin = Arc::new(AtomicUsize::new(0));
    let mut hs = vec![];
    for k in 0..8 {
        let fin = fin.clone();
        hs.push(r.spawn(move || {
            let b = Arc::new(Butex::new(0));
            for i in 0..200u32 {
                let d = bthread::defer(Arc::new(D(move || {
                    if k == 0 && i % 20 == 0 {
                        bthread::sleep(Duration::from_micros(10));
                    }
                    bthread::yield_now();
                })));
                assert!(d);
                let c = b.clone();
                let _ = bthread::timer::schedule(Instant::now() + Duration::from_micros(20), move || {
                    c.value().store(i + 1, Ordering::Release);
                    c.wake_all();
                });
                while b.value().load(Ordering::Acquire) <= i {
                    let _ = b.wait(i, None);
                }
                bthread::yield_now();
            }
            fin.fetch_add(1, Ordering::Relaxed);
        }));
    }
    hs.into_iter().for_each(|h| h.join().unwrap());
}
#[test]
fn cross_runtime() {
    let a = rt(2);
    let b = rt(2);
    let start = Instant::now();
    let hs: Vec<_> = (0..200)
        .map(|n| {
            a.spawn(move || {
                let mut sum = 0;
                for i in 0..50 {
                    sum += b
                        .spawn(move || {
                            bthread::yield_now();
                            let h = a.spawn(move || i + n);
                            h.join().unwrap()
                        })
                        .join()
                        .unwrap();
                }
                sum
            })
        })
        .collect();
    for (n, h) in hs.into_iter().enumerate() {
        assert_eq!(h.join().unwrap(), (0..50).map(|i| i + n).sum::<usize>());
    }
    println!("{:?}", start.elapsed());
}
#[test]
fn mixed_stress() {
    use bthread::sync::{Condvar, Mutex};
    let r = rt(3);
    let start = Instant::now();
    let m = Arc::new((Mutex::new(0u64), Condvar::new()));
    let hs: Vec<_> = (0..100u64)
        .map(|n| {
            let m = m.clone();
            r.spawn(move || {
                for i in 0..100u64 {
                    match (n + i) % 6 {
                        0 => {
                            if let Ok(mut g) = m.0.try_lock_until(Instant::now() + Duration::from_micros(i)) {
                                *g += 1;
                            }
                        }
                        1 => {
                            let g = m.0.lock().unwrap();
                            let (mut g, _) = m.1.wait_timeout(g, Duration::from_micros(50)).unwrap();
                            *g += 1;
                        }
                        2 => {
                            m.1.notify_one();
                        }
                        3 => {
                            let m = m.clone();
                            let h = bthread::spawn(move || {
                                *m.0.lock().unwrap() += 1;
                                if i % 7 == 0 {
                                    std::panic::resume_unwind(Box::new(1))
                                }
                            });
                            if i % 2 == 0 {
                                let _ = h.join();
                            }
                        }
                        4 => {
                            let mut g = m.0.lock().unwrap();
                            *g += 1;
                            bthread::yield_now();
                        }
                        _ => {
                            m.1.notify_all();
                            bthread::sleep(Duration::from_micros(i));
                        }
                    }
                }
            })
        })
        .collect();
    for h in hs {
        h.join().unwrap();
    }
    println!("{:?} {}", start.elapsed(), *m.0.lock().unwrap());
}
