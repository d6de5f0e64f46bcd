//! The echo service of the captured bytes, written by hand as generated code would be, and ways to talk to it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use iobuf::IoBuf;
use prost::Message;
use protocols::Bundled;
use rpc::{
    CallOptions, MessageSchema, MethodDescriptor, ProtoMessage, Reply, RequiredField, Responder, RpcError,
    ServerCall, Service, ServiceDescriptor,
};

pub(crate) type Server = rpc::Server<Bundled>;
pub(crate) type Channel = rpc::Channel<Bundled>;

/// Long enough that nothing reaches it unless it hangs.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const MESSAGE_REQUIRED: Option<&MessageSchema> =
    Some(&MessageSchema { required: &[RequiredField { number: 1, name: "message" }], nested: &[] });

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EchoRequest {
    #[prost(string, required, tag = "1")]
    pub(crate) message: String,
    #[prost(int32, optional, tag = "2")]
    pub(crate) sleep_us: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EchoResponse {
    #[prost(string, required, tag = "1")]
    pub(crate) message: String,
}

impl ProtoMessage for EchoRequest {
    const FULL_NAME: &'static str = "example.EchoRequest";
    const SCHEMA: Option<&'static MessageSchema> = MESSAGE_REQUIRED;
}

impl ProtoMessage for EchoResponse {
    const FULL_NAME: &'static str = "example.EchoResponse";
    const SCHEMA: Option<&'static MessageSchema> = MESSAGE_REQUIRED;
}

static ECHO_SCHEMA: rpc::Schema =
    rpc::Schema::new(include_bytes!("../../src/baidu_std/testdata/echo.descriptors.bin"));

pub(crate) static ECHO_SERVICE: ServiceDescriptor = ServiceDescriptor {
    full_name: "example.EchoService",
    methods: &[MethodDescriptor {
        name: "Echo",
        full_name: "example.EchoService.Echo",
        request_type: "example.EchoRequest",
        response_type: "example.EchoResponse",
        schema: &ECHO_SCHEMA,
    }],
    schema: &ECHO_SCHEMA,
};

pub(crate) fn echo_method() -> &'static MethodDescriptor {
    &ECHO_SERVICE.methods[0]
}

/// Answers as the service of the captures did.
pub(crate) struct Echo;

impl Service for Echo {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO_SERVICE
    }

    fn call(&self, method: usize, call: ServerCall, body: IoBuf) {
        assert_eq!(method, 0);
        rpc::unary(call, body, echo);
    }
}

fn echo(call: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
    if let Some(us @ 1..) = request.sleep_us {
        bthread::sleep(Duration::from_micros(us as u64));
    }
    match request.message.as_str() {
        "fail" => return Err(RpcError::new(1234, "boom")),
        "fail-nocode" => return Err(RpcError::uncoded("boom")),
        "close" => call.close_connection(),
        "panic" => panic!("at the service"),
        "log_id" => {
            return Ok(EchoResponse { message: format!("{:?}", call.log_id()) });
        }
        "request_id" => {
            return Ok(EchoResponse { message: call.request_id().into() });
        }
        "deadline" => {
            return Ok(EchoResponse { message: call.deadline().is_some().to_string() });
        }
        _ => {}
    }
    let fields: Vec<_> = call
        .user_fields()
        .map(|fields| fields.iter().map(|(key, value)| (format!("re-{key}"), value.to_owned())).collect())
        .unwrap_or_default();
    fields.into_iter().for_each(|(key, value)| call.response_user_fields().set(key, value));
    let encoding = call.request_encoding();
    call.set_response_compress_type(encoding.compress);
    call.set_response_checksum_type(encoding.checksum);
    call.set_response_content_type(encoding.content);
    let attachment = call.take_request_attachment();
    call.response_attachment().append_buf(attachment);
    Ok(EchoResponse { message: request.message })
}

/// Hands the responder to a function.
pub(crate) struct AsyncEcho<F>(pub(crate) F);

impl<F: Fn(EchoRequest, Responder<EchoResponse>) + Send + Sync + 'static> Service for AsyncEcho<F> {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO_SERVICE
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary_async(call, body, &self.0);
    }
}

pub(crate) fn start() -> Server {
    Server::builder().add(Echo).start("127.0.0.1:0").unwrap()
}

pub(crate) fn connect(server: &Server) -> Channel {
    Channel::builder().protocol("baidu_std").timeout(LONG).connect(server.local_addr()).unwrap()
}

pub(crate) fn request(message: &str) -> EchoRequest {
    EchoRequest { message: message.into(), sleep_us: None }
}

pub(crate) fn call(channel: &Channel, message: &str) -> Result<String, RpcError> {
    call_with(channel, CallOptions::default(), &request(message)).map(|reply| reply.message.message)
}

pub(crate) fn call_with(
    channel: &Channel,
    options: CallOptions,
    request: &EchoRequest,
) -> Result<Reply<EchoResponse>, RpcError> {
    channel.call(echo_method(), options, request)
}

/// A plain connection, to send any bytes.
pub(crate) fn raw(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr().to_string()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// A request as bytes.
pub(crate) fn request_frame(message: &str, attachment: &IoBuf) -> Vec<u8> {
    let plain = include_bytes!("../../src/baidu_std/testdata/plain.req.bin");
    let meta_size = u32::from_be_bytes(plain[8..12].try_into().unwrap()) as usize;
    let mut meta = plain[12..][..meta_size].to_vec();
    // Field 5; the order of fields is free.
    meta.push(0x28);
    prost::encode_length_delimiter(attachment.len(), &mut meta).unwrap();
    let body = request(message).encode_to_vec();
    let mut frame = b"PRPC".to_vec();
    frame.extend(((meta.len() + body.len() + attachment.len()) as u32).to_be_bytes());
    frame.extend((meta.len() as u32).to_be_bytes());
    frame.extend(meta);
    frame.extend(body);
    frame.extend(attachment.to_vec());
    frame
}

/// Sends bytes, and reads exactly `expect` bytes.
pub(crate) fn exchange(stream: &mut TcpStream, bytes: &[u8], expect: usize) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut answer = vec![0; expect];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// Cuts whole frames apart, and puts them in an order that does not depend on which answer was first.
pub(crate) fn sorted_frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let [_, _, _, _, b0, b1, b2, b3, ..] = bytes {
        let (frame, rest) = bytes.split_at(12 + u32::from_be_bytes([*b0, *b1, *b2, *b3]) as usize);
        frames.push(frame);
        bytes = rest;
    }
    frames.sort();
    frames
}

/// Whether the server closes the connection, without another byte.
pub(crate) fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// A service that hands its calls over, for whoever has the other end to answer.
pub(crate) fn keeping() -> (impl Service, std::sync::mpsc::Receiver<Responder<EchoResponse>>) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    (AsyncEcho(move |_, responder| sender.lock().unwrap().send(responder).unwrap()), receiver)
}

/// Waits for what another thread is about to do.
pub(crate) fn eventually(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG);
        std::thread::yield_now();
    }
}

/// Bytes of this process in memory.
pub(crate) fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
