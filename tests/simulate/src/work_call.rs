//! One call of the service that echoes: what it is like, and making it.

use std::sync::Arc;
use std::time::Duration;

use bobbin::error::ERPCTIMEDOUT;
use bobbin::{
    Backoff, BackupRequestPolicy, CallHandle, CallOptions, CallReport, CancelToken, IoBuf, MethodDescriptor,
    NeverSent, Reply, RpcError, bthread,
};
use sim::{Random, World};

use crate::bounds::{PROBE_PAUSE, RECOVERY};
use crate::faults::Links;
use crate::ledger::{ASKED_TO_FAIL, End, Ledger, Terms};
use crate::payload;
use crate::proto::{WorkRequest, WorkResponse, WorkServer, WorkStub};
use crate::site::Site;
use crate::way::Way;

/// How somebody calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Sync,
    Join,
    Future,
    Callback,
}

/// What is tried again, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Default,
    NeverSent,
    Backoff,
}

/// A call of the service that echoes.
#[derive(Clone, Debug)]
pub(crate) struct WorkCall {
    pub(crate) name: u64,
    pub(crate) form: Form,
    pub(crate) timeout: Duration,
    pub(crate) max_retry: u32,
    pub(crate) policy: Policy,
    pub(crate) backup: Option<Duration>,
    pub(crate) size: usize,
    pub(crate) sleep: Duration,
    pub(crate) cancel_after: Option<Duration>,
    pub(crate) is_to_fail: bool,
    pub(crate) fail_first: u32,
    /// The service closes the connection in place of an answer.
    pub(crate) closes: bool,
}

/// A call's name is below this; those above belong to the checkers.
pub(crate) const NAMES: u64 = 1 << 40;

impl WorkCall {
    /// A plain call.
    pub(crate) fn plain(name: u64, timeout: Duration) -> Self {
        WorkCall {
            name,
            form: Form::Sync,
            timeout,
            max_retry: 0,
            policy: Policy::Default,
            backup: None,
            size: 0,
            sleep: Duration::ZERO,
            cancel_after: None,
            is_to_fail: false,
            fail_first: 0,
            closes: false,
        }
    }

    /// The name of a checker's call.
    pub(crate) fn checkers_name(number: u64) -> u64 {
        NAMES + number
    }

    /// Any call. Times are whole milliseconds more often than not, so that some things happen at the same moment.
    pub(crate) fn draw(random: &mut Random, way: Way) -> Self {
        let ms = Duration::from_millis;
        let time = |random: &mut Random, times: &[u64]| {
            let odd = if random.chance(0.3) { random.below(1000) } else { 0 };
            ms(*random.pick(times)) + Duration::from_micros(odd)
        };
        let sizes: &[usize] = match way.has_attachments() {
            true => &[0, 0, 1, 10, 10, 300, 300, 5_000, 5_000, 40_000, 300_000, payload::PAYLOAD_MAX],
            false => &[0, 1, 10, 300, 5_000, 40_000],
        };
        WorkCall {
            name: random.below(NAMES),
            form: *random.pick(&[Form::Sync, Form::Join, Form::Future, Form::Callback]),
            timeout: time(random, &[2, 5, 10, 20, 50, 100, 300, 1000, 2000, 5000]),
            max_retry: *random.pick(&[0, 0, 1, 3, 3]),
            policy: *random.pick(&[Policy::Default, Policy::Default, Policy::NeverSent, Policy::Backoff]),
            backup: random.chance(0.25).then(|| time(random, &[1, 2, 5, 20, 100])),
            size: *random.pick(sizes),
            sleep: if random.chance(0.5) { time(random, &[1, 2, 5, 10, 20, 50, 100, 300]) } else { ms(0) },
            cancel_after: random.chance(0.15).then(|| time(random, &[0, 1, 2, 5, 20, 100])),
            is_to_fail: random.chance(0.05),
            // What HTTP answers with is not tried again by itself.
            closes: random.chance(0.1),
            fail_first: *random.pick(if way.has_attachments() { &[0, 0, 0, 0, 0, 1, 2] } else { &[0] }),
        }
    }

    /// How often it is sent at most.
    pub(crate) fn attempts_max(&self) -> usize {
        1 + self.max_retry as usize
    }

    /// How long it takes if all is well, but for the ways.
    pub(crate) fn needs(&self) -> Duration {
        self.sleep * (1 + self.fail_first)
    }

    /// Whether it is tried as often as the service was asked to fail it.
    pub(crate) fn retries_enough(&self) -> bool {
        self.fail_first == 0 || (self.fail_first <= self.max_retry && self.policy != Policy::NeverSent)
    }

    fn terms(&self, way: Way, must_succeed: bool) -> Terms {
        Terms {
            name: self.name,
            size: self.size,
            timeout: self.timeout,
            max_retry: self.max_retry,
            never_twice: self.policy == Policy::NeverSent,
            may_back_up: self.backup.is_some(),
            is_to_fail: self.is_to_fail,
            fail_first: self.fail_first,
            must_succeed,
            is_http: !way.has_attachments(),
        }
    }

    /// Makes the call, on the caller's node, and has it accounted for. Returns its error.
    pub(crate) fn make(
        &self,
        caller: &Arc<Site>,
        address: &str,
        way: Way,
        ledger: &Arc<Ledger>,
        must_succeed: bool,
    ) -> Result<(), RpcError> {
        let channel = caller.channel(address, way)?;
        let stub = WorkStub::new(&channel);
        let token = CancelToken::new();
        let (options, request) = self.request(way, &token, ledger);
        ledger.begin(caller, self.terms(way, must_succeed));
        let (name, size) = (self.name, self.size);
        let check = move |reply: &Reply<WorkResponse>| check_reply(reply, name, size);
        let (book, cancel) = (ledger.clone(), |handle| self.cancel_later(ledger, handle));
        let result = match self.form {
            Form::Sync => {
                cancel(Handle::Token(token));
                stub.work_with(options, &request)
            }
            Form::Join => {
                let call = stub.start_work_with(options, &request);
                cancel(Handle::Call(call.handle()));
                call.join_reply()
            }
            Form::Future => {
                let call = stub.start_work_with(options, &request);
                cancel(Handle::Call(call.handle()));
                bthread::block_on(call.into_reply())
            }
            Form::Callback => {
                let done = move |result| book.end(name, End::new(result, check));
                let work = &WorkServer::DESCRIPTOR.methods[0];
                cancel(Handle::Call(channel.call_then(work, options, &request, done)));
                return Ok(());
            }
        };
        let error = result.as_ref().err().cloned();
        ledger.end(name, End::new(result, check));
        error.map_or(Ok(()), Err)
    }

    fn request(&self, way: Way, token: &CancelToken, ledger: &Arc<Ledger>) -> (CallOptions, WorkRequest) {
        let mut options = CallOptions::default().timeout(self.timeout).max_retry(self.max_retry);
        let mut request = WorkRequest {
            call: self.name,
            sleep_us: Some(self.sleep.as_micros() as u64).filter(|us| *us > 0),
            fail_code: self.is_to_fail.then_some(ASKED_TO_FAIL),
            fail_first: Some(self.fail_first).filter(|runs| *runs > 0),
            payload: None,
            close_connection: self.closes.then_some(true),
        };
        let content = payload::content(self.name, self.size);
        if way.has_attachments() {
            options = options.request_attachment(IoBuf::from(content.to_vec()));
        } else {
            request.payload = Some(content.to_vec());
        }
        options = match self.policy {
            Policy::Default => options,
            Policy::NeverSent => options.retry_policy(NeverSent),
            Policy::Backoff => {
                options.retry_policy(Backoff::jittered(Duration::from_millis(1), Duration::from_millis(20)))
            }
        };
        if let Some(after) = self.backup {
            let policy = Counting { name: self.name, ledger: ledger.clone() };
            options = options.backup_request(after).backup_request_policy(policy);
        }
        if self.form == Form::Sync && self.cancel_after.is_some() {
            options = options.cancel_token(token);
        }
        (options, request)
    }

    fn cancel_later(&self, ledger: &Arc<Ledger>, handle: Handle) {
        let Some(after) = self.cancel_after else { return };
        let (ledger, name) = (ledger.clone(), self.name);
        let _cancels = bthread::spawn(move || {
            bthread::sleep(after);
            ledger.cancel(name);
            match handle {
                Handle::Token(token) => token.cancel(),
                Handle::Call(call) => call.cancel(),
            }
        });
    }
}

/// Allows all backup requests, and counts the ends of its one call.
struct Counting {
    name: u64,
    ledger: Arc<Ledger>,
}

impl BackupRequestPolicy for Counting {
    fn do_backup(&self, _: &'static MethodDescriptor) -> bool {
        true
    }

    fn on_rpc_end(&self, _: &'static MethodDescriptor, _: &CallReport, _: Option<&RpcError>) {
        self.ledger.policy_told(self.name);
    }
}

enum Handle {
    Token(CancelToken),
    Call(CallHandle),
}

fn check_reply(reply: &Reply<WorkResponse>, name: u64, size: usize) -> Result<(), String> {
    if reply.message.call != name {
        return Err(format!("it is the reply of call {:x}", reply.message.call));
    }
    match &reply.message.payload {
        Some(payload) => payload::check(&IoBuf::from(payload.clone()), name, size),
        None => payload::check(&reply.attachment, name, size),
    }
}

/// Calls until one succeeds, on the caller's node; then the ways between the two work again, and two more must succeed.
/// `first`: the numbers of the calls begin there.
pub(crate) fn probe(
    world: &World,
    links: &Links,
    caller: &Arc<Site>,
    address: &str,
    way: Way,
    ledger: &Arc<Ledger>,
    first: u64,
) {
    const TIMEOUT: Duration = Duration::from_secs(1);
    let begin = world.now();
    for number in first.. {
        let name = WorkCall::checkers_name(number);
        match WorkCall::plain(name, TIMEOUT).make(caller, address, way, ledger, false) {
            Ok(()) => break,
            Err(error) if world.now() - begin > RECOVERY => {
                world.violation(format_args!(
                    "{} does not reach {address} by {way:?} {RECOVERY:?} after the last fault: {error}",
                    caller.name()
                ));
                return;
            }
            // What took its time need not be waited for.
            Err(error) if error.code() == ERPCTIMEDOUT => {}
            Err(_) => drop(bthread::sleep(PROBE_PAUSE)),
        }
    }
    for number in 0..2 {
        let name = WorkCall::checkers_name(first + PROBES_MAX - 1 - number);
        let _told = WorkCall::plain(name, TIMEOUT).make(
            caller,
            address,
            way,
            ledger,
            !links.is_lossy && !way.is_tight,
        );
    }
}

/// Numbers that one [`probe`] may use.
pub(crate) const PROBES_MAX: u64 = 1 << 20;
