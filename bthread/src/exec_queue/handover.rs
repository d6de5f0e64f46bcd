//! How tasks get from submitters to the one consumer at a time, and how the consumer's role goes from hand to hand.
//! Knows neither bthreads nor executors; must never call code of a user.
//!
//! Normal tasks go through one list, urgent ones through another. The role hangs on the normal list alone: the push
//! that finds it at rest starts a consumer. So an urgent submission also pushes a `Look` on it, and a stop pushes
//! `Stop`. When a consumer that has met `Stop` finds both lists empty, it closes the urgent one, then the normal one:
//! whatever was accepted has been taken before the normal list is closed, and nothing is accepted after it.
//!
//! Holds unsafe: `end` belongs to the consumer. There is one [`Consumer`] at a time: the contract of
//! [`Handover::consumer`] asks for it, and [`Consumer::find`] gives the role up before anybody else can get it.

#![allow(unsafe_code)]

use crossbeam_utils::CachePadded;

use crate::atomic::{AtomicBool, Ordering, UnsafeCell};
use crate::mpsc::list::{Cursor, List, Pushed, Rest};

/// The two kinds of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Urgent,
}

/// What a consumer is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is a task of this kind for [`Consumer::next`].
    Task(Kind),
    /// Nothing is left, and the role is given up: the consumer is one no more.
    Idle,
    /// Nothing is left and nothing more will come. The caller stays the consumer for good.
    Stopped,
}

/// The shared part: lists of `T`, and an `S` that is the consumer's.
pub(super) struct Handover<T, S> {
    normal: List<Entry<T>>,
    urgent: List<T>,
    stopped: AtomicBool,
    end: CachePadded<UnsafeCell<End<T, S>>>,
}

enum Entry<T> {
    Task(T),
    /// The urgent list has a task.
    Look,
    /// The stop was asked for.
    Stop,
}

struct End<T, S> {
    normal: Cursor<Entry<T>>,
    urgent: Cursor<T>,
    /// Taken from the lists, not yet by the consumer.
    front: Option<T>,
    urgent_front: Option<T>,
    stopping: bool,
    urgent_closed: bool,
    closed: bool,
    state: S,
}

// SAFETY: tasks and the state move between threads by value, with the role.
unsafe impl<T: Send, S: Send> Send for Handover<T, S> {}
// SAFETY: as above; `end` belongs to the consumer.
unsafe impl<T: Send, S: Send> Sync for Handover<T, S> {}

impl<T, S> Handover<T, S> {
    pub(super) fn new(state: S) -> Self {
        let (normal, normal_cursor) = List::new();
        let (urgent, urgent_cursor) = List::new();
        let end = End {
            normal: normal_cursor,
            urgent: urgent_cursor,
            front: None,
            urgent_front: None,
            stopping: false,
            urgent_closed: false,
            closed: false,
            state,
        };
        Handover {
            normal,
            urgent,
            stopped: AtomicBool::new(false),
            end: CachePadded::new(UnsafeCell::new(end)),
        }
    }

    /// Queues a task. True: the caller must see that there is a consumer. Gives the task back after a stop. Wait-free,
    /// but for calls that race with the consumer's end.
    pub(super) fn submit(&self, task: T, kind: Kind) -> Result<bool, T> {
        if self.is_stopped() {
            return Err(task);
        }
        match kind {
            Kind::Normal => match self.normal.push(Entry::Task(task)) {
                Ok(pushed) => Ok(pushed == Pushed::First),
                Err(Entry::Task(task)) => Err(task),
                Err(_) => unreachable!("a list gives back what was pushed"),
            },
            Kind::Urgent => {
                self.urgent.push(task)?;
                // Closed by now: then the consumer has taken the task before it closed the urgent list.
                Ok(matches!(self.normal.push(Entry::Look), Ok(Pushed::First)))
            }
        }
    }

    /// Lets no more tasks in. `None`: that was asked for before. True: the caller must see that there is a consumer.
    pub(super) fn stop(&self) -> Option<bool> {
        // Relaxed: who must see it has been told of the stop, or goes by the lists.
        if self.stopped.swap(true, Ordering::Relaxed) {
            return None;
        }
        Some(matches!(self.normal.push(Entry::Stop), Ok(Pushed::First)))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) // as in `stop`
    }

    /// The consumer's view.
    ///
    /// # Safety
    /// The caller has the role: a `submit` or `stop` has returned true to it, or to one who passed it on, and no
    /// [`Consumer::find`] has returned `Idle` since. It has no other `Consumer`.
    pub(super) unsafe fn consumer(&self) -> Consumer<'_, T, S> {
        Consumer(self)
    }
}

impl<T, S> Drop for Handover<T, S> {
    fn drop(&mut self) {
        // SAFETY: `&mut self` excludes everybody.
        let end = unsafe { &mut *self.end.get() };
        // SAFETY: the cursors are the lists'.
        unsafe {
            self.normal.clear(&mut end.normal);
            self.urgent.clear(&mut end.urgent);
        }
    }
}

/// The role of the consumer.
pub(super) struct Consumer<'a, T, S>(&'a Handover<T, S>);

impl<T, S> Consumer<'_, T, S> {
    fn end(&mut self) -> &mut End<T, S> {
        // SAFETY: the consumer's, and there is one at a time.
        unsafe { &mut *self.0.end.get() }
    }

    /// What the consumer keeps from one to the next.
    pub(super) fn state(&mut self) -> &mut S {
        &mut self.end().state
    }

    /// Looks for what is next: urgent tasks first. May wait for a submitter that is within its push.
    pub(super) fn find(&mut self) -> Found {
        loop {
            if self.has_urgent() {
                return Found::Task(Kind::Urgent);
            }
            if self.has_normal() {
                return Found::Task(Kind::Normal);
            }
            if self.end().closed {
                return Found::Stopped;
            }
            if self.urgent_waits() {
                continue; // a `Look` that was passed just now told of it
            }
            // An urgent task that is not linked yet is followed by a `Look`: no need to wait for it here.
            if !self.end().stopping {
                if self.rest() {
                    return Found::Idle;
                }
            } else if self.close() {
                return Found::Stopped;
            }
            if !self.is_linked() {
                self.0.normal.wait_for_a_link();
            }
        }
    }

    /// The next task of a kind, if there is one right now. A normal one only while no urgent one waits.
    #[inline]
    pub(super) fn next(&mut self, kind: Kind) -> Option<T> {
        match kind {
            Kind::Urgent => self.next_urgent(),
            Kind::Normal if self.urgent_waits() => None,
            Kind::Normal => self.next_in_order(),
        }
    }

    fn next_urgent(&mut self) -> Option<T> {
        let list = &self.0.urgent;
        let end = self.end();
        // SAFETY: the cursor is the list's. It is used until the list is closed.
        end.urgent_front
            .take()
            .or_else(|| (!end.urgent_closed).then(|| unsafe { list.pop(&mut end.urgent) })?)
    }

    /// As [`next`](Self::next) for a normal task, even while an urgent one waits.
    #[inline]
    pub(super) fn next_in_order(&mut self) -> Option<T> {
        let list = &self.0.normal;
        let end = self.end();
        if let Some(front) = end.front.take() {
            return Some(front);
        }
        while !end.closed {
            // SAFETY: the cursor is the list's.
            match unsafe { list.pop(&mut end.normal) }? {
                Entry::Task(task) => return Some(task),
                Entry::Look => {}
                Entry::Stop => end.stopping = true,
            }
        }
        None
    }

    /// The task that [`next`](Self::next) would take, after a [`find`](Self::find) of that kind.
    pub(super) fn front(&mut self, kind: Kind) -> Option<&mut T> {
        match kind {
            Kind::Normal => self.end().front.as_mut(),
            Kind::Urgent => self.end().urgent_front.as_mut(),
        }
    }

    fn has_urgent(&mut self) -> bool {
        let next = self.next_urgent();
        self.end().urgent_front = next;
        self.end().urgent_front.is_some()
    }

    fn has_normal(&mut self) -> bool {
        let next = self.next_in_order();
        self.end().front = next;
        self.end().front.is_some()
    }

    /// Whether an urgent task could be taken.
    #[inline]
    fn urgent_waits(&mut self) -> bool {
        let list = &self.0.urgent;
        let end = self.end();
        end.urgent_front.is_some() || !end.urgent_closed && list.is_linked(&end.urgent)
    }

    fn is_linked(&mut self) -> bool {
        let list = &self.0.normal;
        list.is_linked(&self.end().normal) || self.urgent_waits()
    }

    fn rest(&mut self) -> bool {
        let list = &self.0.normal;
        let cursor = self.end().normal.take();
        // SAFETY: the cursor is the list's, which is not closed, and a fresh one is in its place.
        let Err(cursor) = (unsafe { list.rest(cursor, Rest::Idle) }) else { return true };
        self.end().normal = cursor;
        false
    }

    fn close(&mut self) -> bool {
        let (normal, urgent) = (&self.0.normal, &self.0.urgent);
        let end = self.end();
        if !end.urgent_closed {
            let cursor = end.urgent.take();
            // SAFETY: the cursor is the list's, which is not closed, and a fresh one is in its place.
            if let Err(cursor) = unsafe { urgent.rest(cursor, Rest::Closed) } {
                end.urgent = cursor;
                return false;
            }
            end.urgent_closed = true;
        }
        let cursor = end.normal.take();
        // SAFETY: as above.
        match unsafe { normal.rest(cursor, Rest::Closed) } {
            Ok(()) => end.closed = true,
            Err(cursor) => end.normal = cursor,
        }
        end.closed
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell as Tracked;
    use loom::sync::Arc;

    /// What the consumers of a model have seen, in order.
    #[derive(Default)]
    struct Seen {
        sum: usize,
        stops: usize,
    }

    type Queue = Handover<usize, Tracked<Seen>>;

    fn queue() -> Arc<Queue> {
        Arc::new(Handover::new(Tracked::new(Seen::default())))
    }

    fn see(consumer: &mut Consumer<'_, usize, Tracked<Seen>>, f: impl FnOnce(&mut Seen)) {
        // SAFETY: the consumer's; loom reports a consumer that does not see what the one before it did.
        consumer.state().with_mut(|seen| f(unsafe { &mut *seen }));
    }

    fn consume(queue: &Queue) {
        // SAFETY: called by whoever was told to start.
        let mut consumer = unsafe { queue.consumer() };
        loop {
            match consumer.find() {
                Found::Task(kind) => {
                    while let Some(value) = consumer.next(kind) {
                        see(&mut consumer, |seen| {
                            assert_eq!(seen.stops, 0, "nothing runs after the stop");
                            seen.sum += value;
                        });
                    }
                }
                Found::Idle => return,
                Found::Stopped => return see(&mut consumer, |seen| seen.stops += 1),
            }
        }
    }

    fn submit(queue: &Queue, value: usize, kind: Kind) -> usize {
        match queue.submit(value, kind) {
            Ok(start) => {
                if start {
                    consume(queue);
                }
                value
            }
            Err(back) => {
                assert_eq!(back, value);
                0
            }
        }
    }

    fn stop(queue: &Queue) {
        if queue.stop() == Some(true) {
            consume(queue);
        }
    }

    fn seen(queue: Arc<Queue>) -> (usize, usize) {
        // SAFETY: all have ended.
        let end = unsafe { &*queue.end.get() };
        // SAFETY: as above.
        end.state.with(|seen| unsafe { ((*seen).sum, (*seen).stops) })
    }

    fn model(other: fn(&Queue) -> usize, this: fn(&Queue) -> usize, stops: usize) {
        crate::atomic::model(move || {
            let queue = queue();
            let thread = loom::thread::spawn({
                let queue = queue.clone();
                move || other(&queue)
            });
            let accepted = this(&queue) + thread.join().unwrap();
            assert_eq!(seen(queue), (accepted, stops));
        });
    }

    #[test]
    fn loom_what_is_submitted_is_consumed_once() {
        model(
            |queue| submit(queue, 1, Kind::Normal),
            |queue| submit(queue, 10, Kind::Normal) + submit(queue, 100, Kind::Normal),
            0,
        );
    }

    #[test]
    fn loom_urgent_and_normal_tasks_meet_one_consumer() {
        model(
            |queue| submit(queue, 1, Kind::Urgent),
            |queue| submit(queue, 10, Kind::Normal) + submit(queue, 100, Kind::Urgent),
            0,
        );
    }

    #[test]
    fn loom_a_stop_comes_once_and_after_all_that_was_accepted() {
        model(
            |queue| submit(queue, 1, Kind::Normal),
            |queue| {
                stop(queue);
                stop(queue);
                submit(queue, 10, Kind::Normal)
            },
            1,
        );
    }

    #[test]
    fn loom_an_urgent_task_meets_the_stop() {
        model(
            |queue| submit(queue, 1, Kind::Urgent),
            |queue| {
                stop(queue);
                0
            },
            1,
        );
    }
}
