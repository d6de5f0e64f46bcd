//! Calls that block a thread, and files: no worker is ever held. Most run on one worker, which anything that held it
//! would stop.

mod on;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use bthread::{Runtime, Slept, blocking, fs, spawn_blocking};
use on::on;

/// A directory of this test alone.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bthread-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_value_comes_back_to_bthreads_and_threads() {
    assert_eq!(spawn_blocking(|| 7).join().unwrap(), 7);
    assert_eq!(on(1, || spawn_blocking(|| 7).join().unwrap()), 7);
    let handle = spawn_blocking(|| 8);
    while !handle.is_finished() {
        std::thread::yield_now();
    }
    assert_eq!(handle.join().unwrap(), 8);
}

#[test]
fn a_blocked_call_does_not_hold_the_worker() {
    let order = on(1, || {
        // The call waits, with its thread, for a bthread that runs after it on the same worker.
        let (tx, rx) = mpsc::channel();
        let call = spawn_blocking(move || rx.recv().unwrap());
        let sender = bthread::spawn(move || tx.send("sent").unwrap());
        let value = call.join().unwrap();
        sender.join().unwrap();
        value
    });
    assert_eq!(order, "sent");
}

#[test]
fn a_call_may_borrow_and_does_not_hold_the_worker() {
    let seen = on(1, || {
        let words = [String::from("one"), String::from("two")];
        let mut lengths = Vec::new();
        let (tx, rx) = mpsc::channel();
        let rx = Mutex::new(rx);
        let sender = bthread::spawn(move || tx.send(3).unwrap());
        let first: &str = blocking(|| {
            lengths.extend(words.iter().map(String::len));
            lengths.push(rx.lock().unwrap().recv().unwrap());
            &words[0][..]
        });
        sender.join().unwrap();
        (first.to_owned(), lengths)
    });
    assert_eq!(seen, ("one".to_owned(), vec![3, 3, 3]));
}

#[test]
fn on_a_plain_thread_it_runs_in_place() {
    let here = std::thread::current().id();
    assert_eq!(blocking(|| std::thread::current().id()), here);
    let (worker, elsewhere) =
        on(1, || (std::thread::current().id(), blocking(|| std::thread::current().id())));
    assert_ne!(worker, elsewhere);
}

#[test]
fn panics_come_back() {
    let payload = spawn_blocking(|| -> () { panic!("as planned") }).join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"as planned"));
    let message = on(1, || {
        let mut count = 0;
        let caught = catch_unwind(AssertUnwindSafe(|| {
            blocking(|| {
                count += 1;
                panic!("as planned, too");
            })
        }));
        (count, *caught.unwrap_err().downcast::<&str>().unwrap())
    });
    assert_eq!(message, (1, "as planned, too"));
}

#[test]
fn an_interruption_stays_pending() {
    let (tx, rx) = mpsc::channel::<()>();
    let bthread = bthread::spawn(move || {
        let call = spawn_blocking(move || rx.recv());
        call.join().unwrap().unwrap();
        bthread::sleep(Duration::from_secs(3600))
    });
    bthread::interrupt(bthread.id());
    tx.send(()).unwrap();
    assert_eq!(bthread.join().unwrap(), Slept::Interrupted);
}

#[test]
fn a_dropped_handle_lets_the_call_finish_and_drops_its_result() {
    struct Tell(mpsc::Sender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (tx, rx) = mpsc::channel();
    drop(spawn_blocking(move || Tell(tx)));
    rx.recv().unwrap();
}

#[test]
fn many_bthreads_use_the_pool_at_a_time() {
    let workers = Runtime::builder().workers(2).start().unwrap();
    let bthreads: Vec<_> = (0..2000usize)
        .map(|n| {
            workers.spawn(move || {
                let local = n;
                blocking(|| local * 2)
            })
        })
        .collect();
    for (n, bthread) in bthreads.into_iter().enumerate() {
        assert_eq!(bthread.join().unwrap(), n * 2);
    }
}

#[test]
fn files_are_written_read_and_sought() {
    let scratch = Scratch::new("files");
    let path = scratch.0.join("a");
    on(1, move || {
        let mut file = fs::File::create_new(&path).unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_eq!(file.seek(SeekFrom::Start(4)).unwrap(), 4);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two\nthree\n");
        file.write_at(b"TWO", 4).unwrap();
        let mut three = [0; 3];
        assert_eq!(file.read_at(&mut three, 4).unwrap(), 3);
        assert_eq!(&three, b"TWO");
        file.set_len(8).unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 8);
        let lines = BufReader::new(fs::File::open(&path).unwrap()).lines().map(Result::unwrap);
        assert!(lines.eq(["one", "TWO"]));
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"4").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one\nTWO\n4");
        assert_eq!(fs::File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(path.with_file_name("none")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_file_that_waits_does_not_hold_the_worker() {
    let scratch = Scratch::new("fifo");
    let path = scratch.0.join("fifo");
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    on(1, move || {
        // Each open waits for the other.
        let reading = bthread::spawn({
            let path = path.clone();
            move || fs::read_to_string(path).unwrap()
        });
        bthread::yield_now();
        fs::write(&path, "through").unwrap();
        assert_eq!(reading.join().unwrap(), "through");
    });
}

#[test]
fn directories_are_made_listed_and_removed() {
    let scratch = Scratch::new("dirs");
    let root = scratch.0.clone();
    on(1, move || {
        let deep = root.join("x/y");
        fs::create_dir_all(&deep).unwrap();
        // More than one batch, and not a whole number of them.
        let names: BTreeSet<String> = (0..150).map(|n| format!("f{n}")).collect();
        for name in &names {
            fs::write(deep.join(name), name).unwrap();
        }
        let listed: BTreeSet<String> = fs::read_dir(&deep)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert!(entry.file_type().unwrap().is_file());
                assert_eq!(entry.metadata().unwrap().len(), entry.file_name().len() as u64);
                entry.file_name().into_string().unwrap()
            })
            .collect();
        assert_eq!(listed, names);
        fs::rename(deep.join("f0"), root.join("g")).unwrap();
        assert_eq!(fs::copy(root.join("g"), root.join("h")).unwrap(), 2);
        assert!(!fs::exists(deep.join("f0")).unwrap());
        fs::remove_file(root.join("g")).unwrap();
        assert_eq!(fs::metadata(root.join("g")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(fs::remove_dir(&deep).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_dir_all(root.join("x")).unwrap();
        assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    });
}
