//! Calls that are tried more than once, and servers that learn that nobody waits.

use std::time::Duration;

use bobbin::rpc::RetryBudget;
use bobbin::{CallOptions, error};
use bobbin_tests::features::{FeatureRequest, FeatureStub};

use crate::ask::{Peer, call_with, hello, key, seen};
use crate::{Failure, features, want};

features![retry, backup_request, cancel_arrives];

fn retry(peer: &Peer) -> Result<(), Failure> {
    for kind in ["single", "pooled", "short"] {
        let channel = peer.channel_with("plain", kind, |builder| {
            builder.max_retry(3).retry_budget(RetryBudget::unlimited())
        })?;
        let request = FeatureRequest { key: Some(key()), close_first: Some(2), ..hello() };
        let reply = call_with(&FeatureStub::new(&channel), CallOptions::default(), &request)
            .map_err(|error| format!("{kind}: {error}"))?;
        let attempt = seen(&reply.message).attempt();
        want!(attempt == 3 && reply.retried_count == 2, "{kind}: {attempt} {}", reply.retried_count);
    }
    Ok(())
}

fn backup_request(peer: &Peer) -> Result<(), Failure> {
    for kind in ["single", "pooled"] {
        let channel = peer.channel_with("plain", kind, |builder| builder.max_retry(3))?;
        let request = FeatureRequest { key: Some(key()), sleep_first_us: Some(2_000_000), ..hello() };
        let options = CallOptions::default().backup_request(Duration::from_millis(50));
        let reply = call_with(&FeatureStub::new(&channel), options, &request)
            .map_err(|error| format!("{kind}: {error}"))?;
        let attempt = seen(&reply.message).attempt();
        want!(attempt == 2 && reply.has_backup_request, "{kind}: {attempt} {}", reply.has_backup_request);
    }
    Ok(())
}

fn cancel_arrives(peer: &Peer) -> Result<(), Failure> {
    // As the end of the connection.
    for kind in ["pooled", "short"] {
        let key = key();
        let request = FeatureRequest {
            key: Some(key.clone()),
            watch_cancel: Some(true),
            sleep_us: Some(10_000_000),
            ..hello()
        };
        let slow = FeatureStub::new(&peer.channel("plain", kind)?).start_call(&request);
        peer.until(&key, |report| report.calls() == 1)?;
        slow.cancel();
        match slow.join() {
            Err(error) => want!(error.code() == error::ECANCELED, "{kind}: {error}"),
            Ok(_) => return Err(format!("{kind}: the call was answered")),
        }
        peer.until(&key, |report| report.canceled() == 1).map_err(|error| format!("{kind}: {error}"))?;
    }
    Ok(())
}
