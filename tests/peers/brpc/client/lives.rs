//! The lives of connections and of calls.

use std::collections::BTreeSet;

use bobbin::{CallOptions, error};
use bobbin_tests::features::{FeatureRequest, FeatureStub};

use crate::ask::{Peer, call, fails, hello, is_lost, key, seen};
use crate::{Failure, features, want};

features![close_connection, connection_single, connection_pooled, connection_short, cancel,];

fn close_connection(peer: &Peer) -> Result<(), Failure> {
    for kind in ["single", "pooled", "short"] {
        let stub = FeatureStub::new(&peer.channel("plain", kind)?);
        let request = FeatureRequest { close_connection: Some(true), ..hello() };
        let error = fails(&stub, CallOptions::default(), &request)?;
        want!(is_lost(&error), "{kind}: {error}");
        // The next one connects anew.
        call(&stub, &hello()).map_err(|error| format!("{kind}: {error}"))?;
    }
    Ok(())
}

/// From which ports five calls came that were made one by one, and five that were made at once.
fn ports(peer: &Peer, kind: &str) -> Result<(BTreeSet<i32>, BTreeSet<i32>), Failure> {
    let stub = FeatureStub::new(&peer.channel("plain", kind)?);
    let (mut one_by_one, mut at_once) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..5 {
        one_by_one.insert(call(&stub, &hello())?.remote_port());
    }
    let request = FeatureRequest { sleep_us: Some(100_000), ..hello() };
    let calls: Vec<_> = (0..5).map(|_| stub.start_call(&request)).collect();
    for call in calls {
        at_once.insert(seen(&call.join().map_err(|error| error.to_string())?).remote_port());
    }
    Ok((one_by_one, at_once))
}

fn connection_single(peer: &Peer) -> Result<(), Failure> {
    let (one_by_one, at_once) = ports(peer, "single")?;
    want!(one_by_one.len() == 1 && at_once == one_by_one, "{one_by_one:?} {at_once:?}");
    Ok(())
}

fn connection_pooled(peer: &Peer) -> Result<(), Failure> {
    let (one_by_one, at_once) = ports(peer, "pooled")?;
    want!(one_by_one.len() == 1 && at_once.len() == 5, "{one_by_one:?} {at_once:?}");
    Ok(())
}

fn connection_short(peer: &Peer) -> Result<(), Failure> {
    let (one_by_one, at_once) = ports(peer, "short")?;
    want!(one_by_one.len() == 5 && at_once.len() == 5, "{one_by_one:?} {at_once:?}");
    Ok(())
}

fn cancel(peer: &Peer) -> Result<(), Failure> {
    let stub = peer.stub("plain")?;
    let key = key();
    let request = FeatureRequest { sleep_us: Some(300_000), key: Some(key.clone()), ..hello() };
    let slow = stub.start_call(&request);
    peer.until(&key, |report| report.calls() == 1)?;
    slow.cancel();
    match slow.join() {
        Err(error) => want!(error.code() == error::ECANCELED, "{error}"),
        Ok(_) => return Err("the call was answered".into()),
    }
    // Its connection lives, and the late answer is nobody's.
    call(&stub, &hello())?;
    Ok(())
}
