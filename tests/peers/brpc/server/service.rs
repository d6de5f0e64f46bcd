//! The service that does what the request says.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bobbin::rpc::message::{ChecksumType, CompressType, ContentType};
use bobbin::{Endpoint, RpcError, Server, ServerCall, bthread, error};
use bobbin_tests::features::{
    FeatureRequest, FeatureResponse, FeatureService, Pair, ReportRequest, ReportResponse, Seen,
};

use crate::kept::Kept;
use crate::streams;

/// How often a call that waits looks whether its caller has gone.
const LOOK: Duration = Duration::from_millis(2);

/// A server that its own service stops.
#[derive(Debug)]
pub(crate) struct Stoppable {
    pub(crate) server: Mutex<Option<Arc<Server>>>,
    /// Tells `main`, which starts it anew.
    pub(crate) stopped: Sender<()>,
}

impl Stoppable {
    fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop();
            self.stopped.send(()).expect("main waits for it");
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Features {
    pub(crate) kept: Arc<Kept>,
    /// Where calls may stop the server.
    pub(crate) stoppable: Option<Arc<Stoppable>>,
}

impl FeatureService for Features {
    fn call(&self, cntl: &mut ServerCall, request: FeatureRequest) -> Result<FeatureResponse, RpcError> {
        self.answer(cntl, request)
    }

    fn limited(&self, cntl: &mut ServerCall, request: FeatureRequest) -> Result<FeatureResponse, RpcError> {
        self.answer(cntl, request)
    }

    fn report(&self, _: &mut ServerCall, request: ReportRequest) -> Result<ReportResponse, RpcError> {
        Ok(self.kept.report(request.key()))
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.unsigned_abs())
}

impl Features {
    fn answer(&self, cntl: &mut ServerCall, request: FeatureRequest) -> Result<FeatureResponse, RpcError> {
        let attempt = request.key.as_ref().map_or(0, |key| self.kept.call(key));
        if request.watch_cancel() {
            self.watch(cntl, &request);
        } else if request.sleep_us() > 0 {
            bthread::sleep(micros(request.sleep_us()));
        }
        if attempt == 1 && request.sleep_first_us() > 0 {
            bthread::sleep(micros(request.sleep_first_us()));
        }
        if request.stop_server()
            && let Some(stoppable) = &self.stoppable
        {
            stoppable.stop();
        }
        if request.close_connection() || (1..=request.close_first()).contains(&attempt) {
            cntl.close_connection();
            return Err(RpcError::new(error::ECLOSE, "asked to close the connection"));
        }
        if let Some(plan) = request.stream.as_ref().filter(|plan| !plan.refuse()) {
            streams::accept(cntl, plan, |end| self.kept.stream(request.key(), end))?;
        }
        let seen = see(cntl, attempt);
        cntl.set_response_compress_type(CompressType::new(request.response_compress()));
        cntl.set_response_checksum_type(match request.response_checksum() {
            0 => ChecksumType::None,
            _ if request.response_checksum_with_attachment() => ChecksumType::Crc32cWithAttachment,
            _ => ChecksumType::Crc32c,
        });
        cntl.set_response_content_type(match request.response_content_type() {
            1 => ContentType::Json,
            2 => ContentType::ProtoJson,
            3 => ContentType::ProtoText,
            _ => ContentType::Pb,
        });
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        match (request.fail_code, &request.fail_text) {
            (Some(code), text) => return Err(RpcError::new(code, text.clone().unwrap_or_default())),
            (None, Some(text)) => return Err(RpcError::new(error::ENOCODE, text.clone())),
            _ => {}
        }
        Ok(FeatureResponse {
            message: Some(request.message().to_owned()),
            seen: Some(seen),
            payload: request.payload,
            numbers: request.numbers,
            kind: request.kind,
        })
    }

    /// Waits as long as the request says, and counts if the caller has gone by then.
    fn watch(&self, cntl: &ServerCall, request: &FeatureRequest) {
        let mut left = micros(request.sleep_us());
        while !cntl.is_canceled() && left > LOOK {
            bthread::sleep(LOOK);
            left -= LOOK;
        }
        if cntl.is_canceled() {
            self.kept.canceled(request.key());
        }
    }
}

fn see(cntl: &mut ServerCall, attempt: i32) -> Seen {
    let fields: Vec<_> = cntl.user_fields().into_iter().flat_map(|fields| fields.iter()).collect();
    let user_fields: Vec<Pair> =
        fields.iter().map(|(k, v)| Pair { key: Some(k.to_string()), value: Some(v.to_string()) }).collect();
    for pair in &user_fields {
        cntl.response_user_fields().set(pair.key().to_owned(), format!("re:{}", pair.value()));
    }
    let encoding = cntl.request_encoding();
    let request_id = cntl.request_id();
    Seen {
        log_id: cntl.log_id(),
        request_id: (!request_id.is_empty()).then(|| request_id.to_owned()),
        timeout_ms: cntl.deadline().map(|at| at.duration_since(cntl.received_at()).as_millis() as i64),
        trace_id: cntl.span().map(|span| span.trace_id().low()),
        user_fields,
        compress_type: Some(encoding.compress.get()),
        checksum_type: Some(i32::from(encoding.checksum != ChecksumType::None)),
        content_type: Some(encoding.content as i32),
        attachment_size: Some(cntl.request_attachment().len() as i64),
        remote_port: port(cntl.remote_side()),
        user: cntl.auth_context().map(|context| context.user.clone()),
        attempt: (attempt > 0).then_some(attempt),
    }
}

fn port(side: &Endpoint) -> Option<i32> {
    side.port().map(i32::from)
}
