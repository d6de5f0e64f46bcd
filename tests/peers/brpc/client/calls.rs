//! What goes with a call, and comes back.

use std::time::{Duration, Instant};

use bobbin::rpc::span::{self, Found, Query};
use bobbin::{CallOptions, IoBuf, error};
use bobbin_tests::features::{FeatureRequest, FeatureStub, stream_message};

use crate::ask::{PATIENT, Peer, call, call_with, fails, hello, seen};
use crate::{Failure, features, want};

features![
    plain,
    attachment,
    large_message,
    error_code,
    error_without_code,
    log_id,
    request_id,
    user_fields,
    timeout_delivered,
    timeout,
    trace_ids,
    many_at_once,
];

fn plain(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    call(&stub, &hello())?;
    call(&stub, &FeatureRequest::default())?;
    Ok(())
}

fn attachment(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    for size in [1, 100, 8191, 8192, 65_537, 1 << 20, 20 << 20] {
        let bytes = IoBuf::from(stream_message(1, size.max(8))).cut(size);
        let options = CallOptions::default().request_attachment(bytes.clone());
        let reply = call_with(&stub, options, &hello())?;
        let seen = seen(&reply.message).attachment_size();
        want!(seen == size as i64, "{seen} of {size} bytes arrived");
        want!(reply.attachment == bytes, "{size} bytes came back as {}", reply.attachment.len());
    }
    Ok(())
}

fn large_message(peer: &Peer) -> Result<(), Failure> {
    let request = FeatureRequest { payload: Some(vec![b'x'; 30 << 20]), ..hello() };
    let reply = call_with(&peer.stub("plain")?, CallOptions::default(), &request)?;
    want!(reply.message.payload == request.payload, "{} bytes", reply.message.payload().len());
    Ok(())
}

fn error_code(peer: &Peer) -> Result<(), Failure> {
    let request = FeatureRequest { fail_code: Some(1234), fail_text: Some("boom".into()), ..hello() };
    let error = fails(&peer.stub("plain")?, CallOptions::default(), &request)?;
    want!(error.code() == 1234 && error.text().contains("boom"), "{error}");
    Ok(())
}

fn error_without_code(peer: &Peer) -> Result<(), Failure> {
    let request = FeatureRequest { fail_text: Some("boom".into()), ..hello() };
    let error = fails(&peer.stub("plain")?, CallOptions::default(), &request)?;
    want!(error.code() == error::EINTERNAL && error.text().contains("boom"), "{error}");
    Ok(())
}

fn log_id(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    for id in [0, 77, u64::MAX] {
        let reply = call_with(&stub, CallOptions::default().log_id(id), &hello())?;
        want!(seen(&reply.message).log_id == Some(id), "{:?}", reply.message);
    }
    let seen = call(&stub, &hello())?;
    want!(seen.log_id.is_none(), "{seen:?}");
    Ok(())
}

fn request_id(peer: &Peer) -> Result<(), Failure> {
    let options = CallOptions::default().request_id("request-1");
    let reply = call_with(&peer.stub("plain")?, options, &hello())?;
    want!(seen(&reply.message).request_id() == "request-1", "{:?}", reply.message);
    Ok(())
}

fn user_fields(peer: &Peer) -> Result<(), Failure> {
    let value = |i: usize| "v".repeat(i * 10);
    let options =
        (0..20).fold(CallOptions::default(), |options, i| options.user_field(format!("key{i}"), value(i)));
    let reply = call_with(&peer.stub("plain")?, options, &hello())?;
    want!(seen(&reply.message).user_fields.len() == 20, "{:?}", reply.message);
    for i in 0..20 {
        let got = reply.user_fields.get(&format!("key{i}"));
        want!(got == Some(&format!("re:{}", value(i))[..]), "{i}: {got:?}");
    }
    Ok(())
}

fn timeout_delivered(peer: &Peer) -> Result<(), Failure> {
    let stub =
        FeatureStub::new(&peer.channel_with("plain", "single", |builder| builder.deliver_timeout(true))?);
    let options = CallOptions::default().timeout(Duration::from_millis(12_345));
    let reply = call_with(&stub, options, &hello())?;
    let seen = seen(&reply.message).timeout_ms();
    want!((5_000..=12_345).contains(&seen), "{seen} ms");
    Ok(())
}

fn timeout(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let limit = Duration::from_millis(20);
    let request = FeatureRequest { sleep_us: Some(300_000), ..hello() };
    let start = Instant::now();
    let error = fails(&stub, CallOptions::default().timeout(limit), &request)?;
    want!(error.code() == error::ERPCTIMEDOUT && start.elapsed() >= limit, "{error}");
    // Its connection lives, and the late answer is nobody's.
    call(&stub, &hello())?;
    Ok(())
}

fn trace_ids(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let log_id = 0x7ace;
    let (start, mut traces) = (Instant::now(), Vec::new());
    // Only some calls are sampled, and their spans are there a little later.
    while start.elapsed() < PATIENT {
        let reply = call_with(&stub, CallOptions::default().log_id(log_id), &hello())?;
        let query = Query { log_id: Some(log_id), ..Query::default() };
        let Found::List(spans) = span::find(&query) else { return Err("no list of spans".into()) };
        traces.extend(seen(&reply.message).trace_id);
        if spans.iter().any(|span| traces.contains(&span.trace_id.low())) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("no span of a call is of a trace that the server saw: {traces:?}"))
}

fn many_at_once(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let calls: Vec<_> = (0..1000)
        .map(|i: usize| {
            let request = FeatureRequest {
                message: Some(i.to_string()),
                sleep_us: (i.is_multiple_of(10)).then_some(20_000),
                ..FeatureRequest::default()
            };
            let options = CallOptions::default().request_attachment(IoBuf::from(vec![b'a'; i]));
            stub.start_call_with(options, &request)
        })
        .collect();
    for (i, call) in calls.into_iter().enumerate() {
        let reply = call.join_reply().map_err(|error| error.to_string())?;
        want!(reply.message.message() == i.to_string(), "{i}: {:?}", reply.message);
        want!(reply.attachment.len() == i, "{i}: {}", reply.attachment.len());
    }
    Ok(())
}
