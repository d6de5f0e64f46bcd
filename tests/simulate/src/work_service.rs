//! The service that echoes contents, and does on the way what it is asked to.

use std::sync::Arc;
use std::time::Duration;

use bobbin::error::ELIMIT;
use bobbin::{IoBuf, RpcError, ServerCall, bthread};
use sim::World;

use crate::bounds::SLACK;
use crate::ledger::{ASKED_TO_FAIL, Ledger};
use crate::payload;
use crate::proto::{WorkRequest, WorkResponse, WorkService};
use crate::site::Site;

pub(crate) struct Work {
    pub(crate) world: World,
    pub(crate) site: Arc<Site>,
    pub(crate) ledger: Arc<Ledger>,
}

impl Work {
    /// Nobody may wait for an answer to a request that begins late; that is looked at before.
    fn check_deadline(&self, cntl: &ServerCall, name: u64) {
        let Some(deadline) = cntl.deadline() else { return };
        let late = bthread::clock::now().saturating_duration_since(deadline);
        let now = self.world.now();
        let ill = self.site.ill_for(now.saturating_sub(late), now);
        if late > SLACK + ill {
            self.world.violation(format_args!("call {name:x} runs {late:?} after its deadline"));
        }
    }

    fn check_content(&self, content: &IoBuf, name: u64) {
        if let Err(text) = payload::check(content, name, self.ledger.size(name)) {
            self.world.violation(format_args!("the request of call {name:x} is wrong: {text}"));
        }
    }
}

/// Sleeps, and says if that was too short.
pub(crate) fn sleep(world: &World, time: Duration) {
    if time.is_zero() {
        return;
    }
    let begin = bthread::clock::now();
    bthread::sleep(time);
    let slept = bthread::clock::now().saturating_duration_since(begin);
    if slept < time {
        world.violation(format_args!("a sleep of {time:?} took {slept:?}"));
    }
}

impl WorkService for Work {
    fn work(&self, cntl: &mut ServerCall, request: WorkRequest) -> Result<WorkResponse, RpcError> {
        let name = request.call;
        let run = self.ledger.run(name);
        self.check_deadline(cntl, name);
        let attachment = cntl.take_request_attachment();
        match &request.payload {
            Some(payload) => self.check_content(&IoBuf::from(payload.clone()), name),
            None => self.check_content(&attachment, name),
        }
        sleep(&self.world, Duration::from_micros(request.sleep_us()));
        if run <= request.fail_first() {
            return Err(RpcError::new(ELIMIT, "asked to fail at first"));
        }
        if request.close_connection() {
            cntl.close_connection();
        }
        if let Some(code) = request.fail_code {
            debug_assert_eq!(code, ASKED_TO_FAIL);
            return Err(RpcError::new(code, "asked to fail"));
        }
        cntl.response_attachment().append_buf(attachment);
        Ok(WorkResponse { call: name, payload: request.payload })
    }
}
