//! Who is let in, and when not.

use std::time::Duration;

use bobbin::{Call, CallOptions, error};
use bobbin_tests::features::{FeatureRequest, FeatureResponse, FeatureStub};

use crate::ask::{Peer, call, fails, hello, key};
use crate::{Failure, features, want};

features![auth_missing, limit_of_server, limit_of_method, limit_lifted, logoff, interceptor];

fn auth_missing(peer: &Peer) -> Result<(), Failure> {
    let error = fails(&peer.stub("auth")?, CallOptions::default(), &hello())?;
    want!(error.code() == error::ERPCAUTH, "{error}");
    want!(error.text().contains("no such secret"), "{error}");
    Ok(())
}

/// A call that its server sleeps over, and its key.
fn slow() -> (FeatureRequest, String) {
    let key = key();
    (FeatureRequest { sleep_us: Some(400_000), key: Some(key.clone()), ..hello() }, key)
}

/// Returns when the server has begun with the call of this key.
fn wait_for(peer: &Peer, key: &str) -> Result<(), Failure> {
    peer.until(key, |report| report.calls() == 1)
}

fn joined(call: Call<FeatureResponse>) -> Result<(), Failure> {
    call.join().map(drop).map_err(|error| format!("the call in flight: {error}"))
}

fn limit_of_server(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("limit")?;
    let (request, key) = slow();
    let slow = stub.start_call(&request);
    wait_for(peer, &key)?;
    let error = fails(&stub, CallOptions::default(), &hello())?;
    want!(error.code() == error::ELIMIT, "{error}");
    joined(slow)
}

fn limit_of_method(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let (request, key) = slow();
    let slow = stub.start_limited(&request);
    wait_for(peer, &key)?;
    call(&stub, &hello())?;
    match stub.limited(&hello()) {
        Err(error) => want!(error.code() == error::ELIMIT, "{error}"),
        Ok(_) => return Err("a second call of the method was let in".into()),
    }
    joined(slow)
}

fn limit_lifted(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("limit")?;
    let mut refused = 0;
    for _ in 0..100 {
        match stub.call(&hello()) {
            Ok(_) => {}
            // brpc answers before it counts the call out.
            Err(error) if error.code() == error::ELIMIT && refused < 50 => refused += 1,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

fn logoff(peer: &Peer) -> Result<(), Failure> {
    let stub: FeatureStub = peer.stub("logoff")?;
    let (request, key) = slow();
    let slow = stub.start_call(&request);
    wait_for(peer, &key)?;
    call(&stub, &FeatureRequest { stop_server: Some(true), ..hello() })?;
    // Whoever asks the server to stop may have the answer before it does.
    let error = loop {
        match stub.call(&hello()) {
            Ok(_) => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => break error,
        }
    };
    want!(error.code() == error::ELOGOFF, "{error}");
    joined(slow)
}

fn interceptor(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("intercept")?;
    call(&stub, &hello())?;
    let error = fails(&stub, CallOptions::default().log_id(13), &hello())?;
    want!(error.code() == 4321 && error.text().contains("unlucky"), "{error}");
    Ok(())
}
