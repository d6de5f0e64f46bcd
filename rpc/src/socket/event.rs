//! What a socket does when its descriptor becomes ready: almost nothing, as the worker that saw it holds up its tasks
//! meanwhile. It must never read, write user data or block.

use std::sync::Arc;

use bthread::poller::{EventHandler, Readiness};

use super::Socket;

impl EventHandler for Socket {
    fn on_event(self: Arc<Self>, ready: Readiness) {
        if self.error().is_some() {
            if self.lingering.goes_on() {
                self.read_on();
            }
            return;
        }
        if !self.is_connected() && !self.try_to_finish_connecting() {
            return;
        }
        if ready.is_writable() {
            self.writable_again();
        }
        if ready.is_readable() {
            let ends = ready.is_read_closed();
            self.readable_again(ends);
        }
    }
}
