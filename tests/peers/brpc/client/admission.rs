//! Who is let in, and when not.

use bobbin::rpc::auth::{AuthContext, Authenticator};
use bobbin::{Call, CallOptions, Endpoint, RpcError, error};
use bobbin_tests::features::{FeatureRequest, FeatureResponse, FeatureStub};

use crate::ask::{Peer, call, fails, hello, key};
use crate::{Failure, features, want};

features![
    auth_accepted,
    auth_refused,
    auth_missing,
    auth_not_asked_for,
    limit_of_server,
    limit_of_method,
    limit_lifted,
    logoff,
    interceptor
];

/// Says this on each connection, and does not serve.
struct Credential(&'static str);

impl Authenticator for Credential {
    fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
        Ok(self.0.into())
    }

    fn verify_credential(&self, _: &[u8], _: &Endpoint) -> Result<AuthContext, RpcError> {
        Err(RpcError::new(error::ERPCAUTH, "this is a client"))
    }
}

fn known_as(peer: &Peer, port: &str, kind: &str, credential: &'static str) -> Result<FeatureStub, Failure> {
    let channel = peer.channel_with(port, kind, |builder| builder.auth(Credential(credential)))?;
    Ok(FeatureStub::new(&channel))
}

fn auth_accepted(peer: &Peer) -> Result<(), Failure> {
    for kind in ["single", "pooled", "short"] {
        let stub = known_as(peer, "auth", kind, "secret:anna")?;
        for _ in 0..3 {
            let seen = call(&stub, &hello()).map_err(|error| format!("{kind}: {error}"))?;
            want!(seen.user() == "anna", "{kind}: {seen:?}");
        }
    }
    Ok(())
}

fn auth_refused(peer: &Peer) -> Result<(), Failure> {
    for kind in ["single", "pooled", "short"] {
        let error = fails(&known_as(peer, "auth", kind, "guess")?, CallOptions::default(), &hello())?;
        want!(error.code() == error::ERPCAUTH, "{kind}: {error}");
        want!(error.text().contains("no such secret"), "{kind}: {error}");
    }
    Ok(())
}

fn auth_not_asked_for(peer: &Peer) -> Result<(), Failure> {
    call(&known_as(peer, "plain", "single", "secret:anna")?, &hello()).map(drop)
}

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
    let error = fails(&stub, CallOptions::default(), &hello())?;
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
