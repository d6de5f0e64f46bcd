//! Futures inside of bthreads: polls one until it is ready and waits in between like everything else here.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::atomic::{AtomicBool, Ordering};
use crate::parker::Parker;
use crate::wait;

/// Runs a future to its end on the calling bthread or thread, and returns its value.
///
/// For code that needs no executor of its own (channels, streams, combinators). What needs one (tokio's sockets and
/// timers) needs it here too. May be called from within a future that another `block_on` polls. Interruptions
/// ([`interrupt`](crate::interrupt)) do not end it and stay pending. A panic of the future goes on in the caller.
///
/// *Blocking*: parks the calling bthread, or blocks the calling thread, whenever the future is pending.
///
/// ```
/// let answer = bthread::spawn(|| bthread::block_on(async { 6 * 7 }));
/// assert_eq!(answer.join().unwrap(), 42);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let signal = Arc::new(Signal { woken: AtomicBool::new(false), parker: wait::current_parker() });
    let waker = Waker::from(signal.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        signal.wait();
    }
}

/// Whether the future wants to be polled again, and who is to be woken then. Wakers may outlive the `block_on` and
/// its bthread: parkers live for ever, and a wake-up too many harms nobody.
struct Signal {
    woken: AtomicBool,
    parker: &'static Parker,
}

impl Signal {
    /// Returns once per wake-up at most. By the owner of the parker.
    fn wait(&self) {
        // Acquire pairs with the Release in `wake_by_ref`: the poll sees what came before the wake-up.
        while !self.woken.swap(false, Ordering::Acquire) {
            wait::park_for(self.parker, None, wait::Reason::Future);
        }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release pairs with the Acquire in `wait`. When it was set before, whoever set it unparks, and one wake-up
        // is enough for both, since the owner has not looked yet.
        if !self.woken.swap(true, Ordering::Release) {
            self.parker.unpark();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::atomic::AtomicU32;

    #[test]
    fn loom_no_wake_up_of_a_future_is_lost() {
        crate::atomic::model(|| {
            let signal =
                Arc::new(Signal { woken: AtomicBool::new(false), parker: crate::parker::of_this_thread() });
            let done = Arc::new(AtomicU32::new(0));
            let wakers = [(); 2].map(|()| {
                let (waker, done) = (Waker::from(signal.clone()), done.clone());
                loom::thread::spawn(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                })
            });
            // What a future does: looks, and is pending until both have come.
            while done.load(Ordering::Relaxed) < 2 {
                signal.wait();
            }
            wakers.into_iter().for_each(|waker| waker.join().unwrap());
        });
    }
}
