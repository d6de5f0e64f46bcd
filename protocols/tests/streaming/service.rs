//! A service whose answer is a function of the test's, and handlers that tell what they get.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use iobuf::IoBuf;
use rpc::stream::StreamHandler;
use rpc::{
    CallOptions, RpcError, ServerCall, Service, ServiceDescriptor, Stream, StreamOptions, StreamWriter,
};

use crate::support::{
    Channel, ECHO_SERVICE, EchoRequest, EchoResponse, LONG, Server, call_with, connect, request,
};

/// Answers with what a function returns.
pub(crate) struct Answering<F>(pub(crate) F);

impl<F> Service for Answering<F>
where
    F: Fn(&mut ServerCall, &str) -> Result<String, RpcError> + Send + Sync + 'static,
{
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO_SERVICE
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary(call, body, |call, request: EchoRequest| {
            (self.0)(call, &request.message).map(|message| EchoResponse { message })
        });
    }
}

pub(crate) fn serve<F>(answer: F) -> Server
where
    F: Fn(&mut ServerCall, &str) -> Result<String, RpcError> + Send + Sync + 'static,
{
    Server::builder().add(Answering(answer)).start("127.0.0.1:0").unwrap()
}

/// A server that accepts the stream of each call, and hands it to the test.
pub(crate) fn serve_streams(options: StreamOptions) -> (Server, mpsc::Receiver<Stream>) {
    let (streams, accepted) = mpsc::channel();
    let streams = Mutex::new(streams);
    let server = serve(move |call, _| {
        let stream = call.accept_stream(options.clone())?;
        let _ = streams.lock().unwrap().send(stream); // the test may want no more
        Ok("accepted".into())
    });
    (server, accepted)
}

/// A stream to a server, and the server's end of it.
pub(crate) fn pair(client: StreamOptions, server: StreamOptions) -> Pair {
    let (server, accepted) = serve_streams(server);
    let channel = connect(&server);
    let here = open(&channel, client).unwrap();
    let there = accepted.recv_timeout(LONG).unwrap();
    Pair { here, there, channel, _server: server }
}

/// Both ends, and what they need.
pub(crate) struct Pair {
    pub(crate) here: Stream,
    pub(crate) there: Stream,
    pub(crate) channel: Channel,
    _server: Server,
}

pub(crate) fn open(channel: &Channel, options: StreamOptions) -> Result<Stream, RpcError> {
    let (call, stream) = CallOptions::default().open_stream(options)?;
    call_with(channel, call, &request("open"))?;
    Ok(stream)
}

/// What a handler was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Messages(Vec<Vec<u8>>),
    Idle,
    Failed(i32),
    Closed,
}

/// Tells the test everything.
pub(crate) struct Telling {
    told: Mutex<mpsc::Sender<Told>>,
}

impl Telling {
    pub(crate) fn new() -> (Self, Tale) {
        let (told, tale) = mpsc::channel();
        (Telling { told: Mutex::new(told) }, Tale(tale))
    }

    fn tell(&self, what: Told) {
        let _ = self.told.lock().unwrap().send(what); // the test may be over
    }
}

impl StreamHandler for Telling {
    fn on_received_messages(&self, _: &StreamWriter, messages: &mut Vec<IoBuf>) {
        self.tell(Told::Messages(messages.drain(..).map(|message| message.to_vec()).collect()));
    }

    fn on_idle_timeout(&self, _: &StreamWriter) {
        self.tell(Told::Idle);
    }

    fn on_failed(&self, _: &StreamWriter, error: &RpcError) {
        self.tell(Told::Failed(error.code().get()));
    }

    fn on_closed(&self, _: &StreamWriter) {
        self.tell(Told::Closed);
    }
}

/// What handlers told, in order.
pub(crate) struct Tale(mpsc::Receiver<Told>);

impl Tale {
    pub(crate) fn next(&self) -> Told {
        self.0.recv_timeout(LONG).expect("a handler is told something")
    }

    /// Whether nothing more is told, and nobody is there to do it: the handler was dropped. A server that gives its streams
    /// one keeps it.
    pub(crate) fn is_over(&self) -> bool {
        self.0.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Disconnected)
    }

    /// All messages up to what is no message.
    pub(crate) fn messages(&self) -> (Vec<Vec<u8>>, Told) {
        let mut messages = Vec::new();
        loop {
            match self.next() {
                Told::Messages(more) => messages.extend(more),
                other => return (messages, other),
            }
        }
    }
}

/// Calls a function with each message.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: Fn(&StreamWriter, IoBuf) + Send + Sync + 'static> StreamHandler for Each<F> {
    fn on_received_messages(&self, stream: &StreamWriter, messages: &mut Vec<IoBuf>) {
        messages.drain(..).for_each(|message| (self.0)(stream, message));
    }
}

/// Streams that are let go when the test is over, from wherever they were accepted.
pub(crate) type Kept = Arc<Mutex<Vec<Stream>>>;

pub(crate) const SOON: Duration = Duration::from_millis(20);
