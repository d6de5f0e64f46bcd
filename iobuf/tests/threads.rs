//! Buffers handed from thread to thread while blocks beneath are shared by all of them.

use std::sync::mpsc;

use iobuf::{BLOCK_PAYLOAD, IoBuf};

const THREADS: usize = 4;
const MESSAGES: usize = 3000;

fn message(thread: usize, number: usize) -> Vec<u8> {
    let mut bytes = format!("{thread}:{number}:").into_bytes();
    bytes.resize(bytes.len() + number * 37 % 600, thread as u8);
    bytes
}

#[test]
fn many_threads_share_and_drop_in_any_order() {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::sync_channel::<(usize, usize, IoBuf)>(64)).unzip();
    let producers: Vec<_> = (0..THREADS)
        .map(|me| {
            let senders = senders.clone();
            std::thread::spawn(move || {
                let mut kept = IoBuf::new();
                for number in 0..MESSAGES {
                    let bytes = message(me, number);
                    let mut buf = IoBuf::from(&bytes[..]);
                    // Two receivers get the same bytes; the sender keeps a part for a while.
                    for sender in [&senders[number % THREADS], &senders[(number + 1) % THREADS]] {
                        sender.send((me, number, buf.clone())).unwrap();
                    }
                    kept.append_buf(buf.cut(3));
                    if kept.len() > BLOCK_PAYLOAD {
                        kept.clear();
                    }
                }
            })
        })
        .collect();
    drop(senders);
    let consumers: Vec<_> = receivers
        .into_iter()
        .map(|receiver| {
            std::thread::spawn(move || {
                let (mut held, mut count) = (IoBuf::new(), 0);
                for (thread, number, mut buf) in receiver {
                    let expected = message(thread, number);
                    assert_eq!(buf, expected);
                    let head = buf.cut(expected.len() / 2);
                    buf.append(b"!");
                    assert_eq!(buf.pop_back(1), 1);
                    held.append_buf(buf);
                    held.append_buf(head);
                    if number % 5 == 0 {
                        held.pop_front(held.len() / 2);
                    }
                    count += 1;
                }
                count
            })
        })
        .collect();
    producers.into_iter().for_each(|thread| thread.join().unwrap());
    let received: usize = consumers.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(received, 2 * THREADS * MESSAGES);
}

#[test]
fn the_last_of_many_holders_gives_user_memory_back_once() {
    for _ in 0..300 {
        let (dropped, drops) = mpsc::channel();
        let mut buf = IoBuf::new();
        buf.append_user_data_with_deleter(vec![9_u8; 1000], 0, move |owner| {
            // Every reader has finished by now.
            assert!(owner.iter().all(|&byte| byte == 9));
            dropped.send(owner.len()).unwrap();
        });
        let threads: Vec<_> = (0..THREADS)
            .map(|i| {
                let mut share = buf.clone();
                std::thread::spawn(move || {
                    let head = share.cut(100 * i);
                    share.to_vec().len() + head.len()
                })
            })
            .collect();
        drop(buf);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 1000);
        }
        assert_eq!(drops.iter().collect::<Vec<_>>(), [1000]);
    }
}

#[test]
fn one_buffer_is_read_by_many_threads() {
    let mut buf = IoBuf::new();
    for i in 0..50_u8 {
        buf.append_fill(i, 300);
        buf.append_user_data(vec![i; 10]);
    }
    let expected = buf.to_vec();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for n in (0..expected.len()).step_by(97) {
                    let mut copy = buf.clone();
                    assert_eq!(copy.cut(n), expected[..n]);
                    assert_eq!(copy, expected[n..]);
                }
            });
        }
    });
    assert_eq!(buf, expected);
}
