//! What is alive is counted while it is, and nothing is left when all is over. One test, as it counts the whole process.

#[path = "support/memory.rs"]
mod memory;
mod support;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use memory::Memory;
use rpc::live;
use rpc::protocol::Role;
use rpc::{CallOptions, Responder, StreamOptions};
use support::{AsyncEcho, Channel, EchoRequest, EchoResponse, LONG, Server, call, request};

/// What ends in another thread has ended soon.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: {:?} {:?}", live::counts(), live::connections());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_is_alive_is_counted_until_it_is_gone() {
    assert_eq!(live::counts(), live::Counts::default());

    let network = Memory::default();
    let (held, come) = mpsc::sync_channel(16);
    let service = AsyncEcho(move |_: EchoRequest, responder: Responder<EchoResponse>| {
        held.send(responder).unwrap();
    });
    let server = Server::builder().add(service).start_on(network.clone()).unwrap();
    let channel =
        Channel::builder().connector(Arc::new(network.clone())).timeout(LONG).connect("memory").unwrap();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let channel = channel.clone();
            bthread::spawn(move || call(&channel, "hello"))
        })
        .collect();
    let responders: Vec<_> = (0..3).map(|_| come.recv().unwrap()).collect();

    let counts = live::counts();
    assert_eq!((counts.client_calls, counts.server_calls), (3, 3));
    assert_eq!((counts.sockets, counts.sockets_in_memory, counts.servers), (2, 2, 1));
    let connections = live::connections();
    let of = |role| connections.iter().find(|connection| connection.role == role).unwrap();
    let (client, accepted) = (of(Role::Client), of(Role::Server));
    assert_eq!(connections.len(), 2);
    assert_eq!((client.waiting_calls, accepted.waiting_calls), (3, 0));
    assert_eq!(
        (client.remote.to_string(), accepted.remote.to_string()),
        ("memory".into(), "somebody".into())
    );
    assert!(client.is_connected && client.streams == 0, "{client}");
    assert_eq!(network.connects(), 1);

    for responder in responders {
        responder.send(Ok(EchoResponse { message: "hello".into() }));
    }
    for call in calls {
        assert_eq!(call.join().unwrap().unwrap(), "hello");
    }
    wait_until("calls have ended", || live::counts().client_calls + live::counts().server_calls == 0);

    // A stream counts at both ends, until it has ended there.
    let (options, stream) = CallOptions::default().open_stream(StreamOptions::default()).unwrap();
    let opening = {
        let channel = channel.clone();
        bthread::spawn(move || support::call_with(&channel, options, &request("stream")).is_ok())
    };
    let mut responder = come.recv().unwrap();
    let accepted = responder.call_mut().accept_stream(StreamOptions::default()).unwrap();
    responder.send(Ok(EchoResponse { message: "accepted".into() }));
    assert!(opening.join().unwrap());
    assert_eq!((live::counts().streams, live::counts().streams_in_memory), (2, 2));
    assert!(live::connections().iter().all(|connection| connection.streams == 1));
    stream.close();
    wait_until("streams have ended", || live::counts().streams == 0);
    assert_eq!(live::counts().streams_in_memory, 2, "somebody has them");
    drop((stream, accepted));
    wait_until("streams are gone", || live::counts().streams_in_memory == 0);

    // A stopped server is held by the call that it has not answered.
    let options = CallOptions::default().timeout(Duration::from_millis(1));
    assert!(support::call_with(&channel, options, &request("late")).is_err());
    let late = come.recv().unwrap();
    let counts = live::counts();
    assert_eq!((counts.client_calls, counts.server_calls), (0, 1));
    drop(channel);
    server.stop();
    assert_eq!(live::counts().servers, 1);
    drop(late);
    drop(server);
    wait_until("nothing is left", || live::counts() == live::Counts::default());
    assert!(live::connections().is_empty());
}
