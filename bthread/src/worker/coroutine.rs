//! A worker as a coroutine of the thread that simulates all of them (`simulation`): the same runner on the same stacks,
//! which gives way where a worker with a thread of its own would ask the kernel for events.
//!
//! Holds unsafe: the switches between that thread's own stack and the runners'. The argument, beside that of `runner`:
//! (4) All coroutines belong to one thread, which is on exactly one of the stacks. `context` holds where the worker
//!     stands while it is not on it, `conductor` where the thread's own flow stands while a worker is; each is taken out
//!     when it is resumed. A worker gives way on a runner's stack, which nobody else touches until it goes on (2), and
//!     its thread-local `LOCAL` is put back before it does (1).

#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::ptr;

use super::runner::{Local, Prepared};
use super::{LOCAL, Worker};
use crate::context::{self, Context};
use crate::stack::StackClass;
use crate::task::TaskRef;

/// One worker's flow of control. Neither `Send` nor `Sync`.
pub(crate) struct Coroutine {
    local: &'static Local,
    context: Cell<Context>,
    conductor: Cell<Context>,
}

impl Coroutine {
    /// One that begins with its first step. On the thread of the simulation, which has prepared itself to be a worker.
    ///
    /// # Errors
    /// There is no stack to be had.
    pub(crate) fn new(
        worker: &'static Worker,
        deque: crossbeam_deque::Worker<TaskRef>,
        prepared: &Prepared,
    ) -> io::Result<Self> {
        let stack = worker.scheduler().stacks().get(StackClass::Normal)?;
        let local = Local::new(worker, deque, prepared);
        let context = Cell::new(local.fresh_runner(stack));
        Ok(Coroutine { local, context, conductor: Cell::new(Context::null()) })
    }

    /// Lets the worker go on until it gives way. By the thread's own flow.
    pub(crate) fn step(&self) {
        LOCAL.set(self.local);
        let there = self.context.replace(Context::null());
        // SAFETY: (4): `there` is where it gave way last, or its fresh runner; we go on when it gives way again.
        unsafe { context::switch(self.conductor.as_ptr(), there) };
        LOCAL.set(ptr::null());
    }

    /// Goes back to the thread's own flow until the next step. By the worker, on a runner's stack.
    pub(crate) fn give_way(&self) {
        let there = self.conductor.replace(Context::null());
        // SAFETY: (4): `there` is in `step`, which has saved it just before we went on.
        unsafe { context::switch(self.context.as_ptr(), there) };
    }
}
