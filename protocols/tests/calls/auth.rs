//! Who says the credential: the first request of each connection, and no other.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rpc::error::ERPCAUTH;
use rpc::{AuthContext, Authenticator, CallOptions, Endpoint, RpcError};

use crate::peer::Peer;
use crate::support::{Channel, EchoResponse, LONG, call, echo_method, request};

/// Gives numbered credentials, after the first few have failed.
#[derive(Default)]
struct Numbered {
    made: AtomicUsize,
    fails: usize,
    is_empty: bool,
}

impl Authenticator for Numbered {
    fn generate_credential(&self) -> Result<Vec<u8>, RpcError> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        match number < self.fails {
            true => Err(RpcError::uncoded("no key")),
            false if self.is_empty => Ok(Vec::new()),
            false => Ok(format!("credential {number}").into_bytes()),
        }
    }

    fn verify_credential(&self, _: &[u8], _: &Endpoint) -> Result<AuthContext, RpcError> {
        Ok(AuthContext::default())
    }
}

/// The credentials of the requests, in the order of each connection.
type Said = Arc<Mutex<Vec<Vec<Option<Vec<u8>>>>>>;

fn noting() -> (Peer, Said) {
    let said = Said::default();
    let note = said.clone();
    let peer = Peer::new(move |connection| {
        while let Some(request) = connection.request() {
            {
                let mut said = note.lock().unwrap();
                if said.len() <= connection.number {
                    said.resize(connection.number + 1, Vec::new());
                }
                said[connection.number].push(request.meta.authentication_data.clone());
            }
            connection.answer(&request, &request.message);
        }
    });
    (peer, said)
}

fn channel(peer: &Peer, kind: &str, authenticator: Numbered) -> Channel {
    let builder = Channel::builder().connection_type(kind).timeout(LONG);
    builder.auth(authenticator).connect(&peer.address).unwrap()
}

#[test]
fn one_of_many_first_callers_says_it_and_is_the_first() {
    for _ in 0..20 {
        let (peer, said) = noting();
        let channel = channel(&peer, "single", Numbered::default());
        std::thread::scope(|scope| {
            for n in 0..10 {
                let channel = &channel;
                scope.spawn(move || {
                    let message = n.to_string();
                    if n % 2 == 0 {
                        assert_eq!(call(channel, &message).unwrap(), message);
                    } else {
                        let options = CallOptions::default();
                        let started: rpc::Call<EchoResponse> =
                            channel.start(echo_method(), options, &request(&message));
                        assert_eq!(started.join().unwrap().message, message);
                    }
                });
            }
        });
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].len(), 10);
        assert_eq!(said[0][0].as_deref(), Some(&b"credential 0"[..]));
        assert!(said[0][1..].iter().all(Option::is_none));
    }
}

#[test]
fn every_connection_has_one() {
    let (peer, said) = noting();
    let short = channel(&peer, "short", Numbered::default());
    (0..3).for_each(|_| assert_eq!(call(&short, "x").unwrap(), "x"));
    let credential = |number| vec![Some(format!("credential {number}").into_bytes())];
    assert_eq!(*said.lock().unwrap(), [credential(0), credential(1), credential(2)]);

    let (peer, said) = noting();
    let pooled = channel(&peer, "pooled", Numbered { is_empty: true, ..Numbered::default() });
    (0..3).for_each(|_| assert_eq!(call(&pooled, "x").unwrap(), "x"));
    assert_eq!(*said.lock().unwrap(), [[Some(Vec::new()), None, None]], "an empty one is one");
}

#[test]
fn who_has_none_fails_and_the_next_connection_asks_again() {
    for kind in ["single", "pooled", "short"] {
        let (peer, said) = noting();
        let channel = channel(&peer, kind, Numbered { fails: 1, ..Numbered::default() });
        let error = call(&channel, "x").unwrap_err();
        assert_eq!(error.code(), ERPCAUTH);
        assert!(error.text().contains("no key"), "{error}");
        while let Err(error) = call(&channel, "y") {
            assert_ne!(error.code(), ERPCAUTH, "{error}"); // it may pause before it connects again
        }
        let said = said.lock().unwrap().concat();
        assert_eq!(said, [Some(b"credential 1".to_vec())], "nothing was said before");
    }
}

#[test]
fn without_an_authenticator_nothing_is_said() {
    let (peer, said) = noting();
    call(&peer.channel(), "x").unwrap();
    assert_eq!(*said.lock().unwrap(), [[None]]);
}
