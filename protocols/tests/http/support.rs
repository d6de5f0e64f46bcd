//! The services of the captures, and plain sockets to reach them with.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use iobuf::IoBuf;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use protocols::Bundled;
use protocols::http::HttpCall;
use rpc::{
    MessageSchema, MethodDescriptor, ProtoMessage, RequiredField, RpcError, Schema, ServerCall, Service,
    ServiceDescriptor, ServiceOptions,
};

pub(crate) type Server = rpc::Server<Bundled>;

/// Longer than anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Echo {
    #[prost(string, required, tag = "1")]
    pub(crate) message: String,
    #[prost(int32, optional, tag = "2")]
    pub(crate) sleep_us: Option<i32>,
}

const NEEDS_MESSAGE: Option<&MessageSchema> =
    Some(&MessageSchema { required: &[RequiredField { number: 1, name: "message" }], nested: &[] });

impl ProtoMessage for Echo {
    const FULL_NAME: &'static str = "example.EchoRequest";
    const SCHEMA: Option<&'static MessageSchema> = NEEDS_MESSAGE;
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Empty {}

impl ProtoMessage for Empty {
    const FULL_NAME: &'static str = "example.HttpRequest";
    const SCHEMA: Option<&'static MessageSchema> = None;
}

fn field(name: &str, number: i32, label: Label, r#type: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(label.into()),
        r#type: Some(r#type.into()),
        ..Default::default()
    }
}

fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<&'static Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let message = |name: &str, fields: Vec<_>| DescriptorProto {
            name: Some(name.into()),
            field: fields,
            ..Default::default()
        };
        let echo = || {
            vec![
                field("message", 1, Label::Required, Type::String),
                field("sleep_us", 2, Label::Optional, Type::Int32),
            ]
        };
        let file = FileDescriptorProto {
            name: Some("echo.proto".into()),
            package: Some("example".into()),
            message_type: vec![
                message("EchoRequest", echo()),
                message("HttpRequest", vec![]),
                message("HttpResponse", vec![]),
            ],
            ..Default::default()
        };
        let bytes: &'static [u8] = FileDescriptorSet { file: vec![file] }.encode_to_vec().leak();
        Box::leak(Box::new(Schema::new(bytes)))
    })
}

fn describe(
    name: &str,
    methods: &[&str],
    request: &'static str,
    response: &'static str,
) -> &'static ServiceDescriptor {
    let methods: Vec<_> = methods
        .iter()
        .map(|method| MethodDescriptor {
            name: String::from(*method).leak(),
            full_name: format!("{name}.{method}").leak(),
            request_type: request,
            response_type: response,
            schema: schema(),
        })
        .collect();
    let full_name = String::from(name).leak();
    Box::leak(Box::new(ServiceDescriptor { full_name, methods: methods.leak(), schema: schema() }))
}

/// Messages in, messages out.
pub(crate) struct EchoService(&'static ServiceDescriptor);

impl EchoService {
    pub(crate) fn new() -> Self {
        let message = "example.EchoRequest";
        EchoService(describe("example.EchoService", &["Echo"], message, message))
    }
}

impl Service for EchoService {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.0
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary(call, body, |call, request: Echo| {
            call.compress_response(true);
            if let Some(us @ 1..) = request.sleep_us {
                bthread::sleep(Duration::from_micros(us as u64));
            }
            let status = |call: &mut ServerCall, status: u16| {
                call.http_response().unwrap().status = status.try_into().unwrap();
            };
            match request.message.as_str() {
                "fail" => return Err(RpcError::new(1234, "boom")),
                "fail-nocode" => return Err(RpcError::uncoded("boom")),
                "fail-status" => {
                    status(call, 418);
                    return Err(RpcError::new(1234, "boom"));
                }
                "fail-body" => {
                    call.keep_error_body(true);
                    call.response_attachment().append(b"my own words");
                    return Err(RpcError::new(1008, "boom"));
                }
                "panic" => panic!("at the service"),
                "log_id" => return Ok(Echo { message: format!("{:?}", call.log_id()), sleep_us: None }),
                "request_id" => return Ok(Echo { message: call.request_id().into(), sleep_us: None }),
                "http-status" => status(call, 201),
                _ => {}
            }
            Ok(Echo { message: request.message, sleep_us: None })
        });
    }
}

/// Plain HTTP in a service with messages that have no fields.
pub(crate) struct PlainService(&'static ServiceDescriptor);

impl PlainService {
    pub(crate) fn new() -> Self {
        let methods = ["Hello", "Query", "Chunked", "Status", "Item"];
        PlainService(describe("example.HttpService", &methods, "example.HttpRequest", "example.HttpResponse"))
    }

    pub(crate) fn options() -> ServiceOptions {
        ServiceOptions::default().restful("/v1/item/* => Item")
    }
}

impl Service for PlainService {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        self.0
    }

    fn call(&self, method: usize, call: ServerCall, body: IoBuf) {
        let name = self.0.methods[method].name;
        rpc::unary(call, body, |call, _: Empty| {
            let text = answer(name, call);
            if name != "Status" {
                let response = call.http_response().unwrap();
                response.headers.insert("content-type", "text/plain".parse().unwrap());
            }
            call.response_attachment().append(text.as_bytes());
            Ok(Empty {})
        });
    }
}

fn answer(name: &str, call: &mut ServerCall) -> String {
    match name {
        "Hello" => "hello from http\n".into(),
        "Item" => {
            let request = call.http_request().unwrap();
            format!("{} item rest={}\n", request.method, call.unresolved_path())
        }
        "Status" => {
            call.http_response().unwrap().status = http::StatusCode::NOT_MODIFIED;
            String::new()
        }
        "Chunked" => {
            let body = call.progressive().unwrap();
            assert!(call.progressive().is_none(), "there is one");
            bthread::spawn(move || {
                for part in 0..3 {
                    body.write(format!("part-{part}\n")).unwrap();
                }
            });
            String::new()
        }
        "Query" => {
            let request = call.http_request().unwrap();
            let mut text = format!("method={}\npath={}\n", request.method, request.uri.path());
            text += &format!("unresolved={}\n", call.unresolved_path());
            for (key, value) in call.query().unwrap().pairs() {
                text += &format!("query {key}={value}\n");
            }
            let body = call.take_request_attachment().to_vec();
            call.http_response().unwrap().headers.insert("x-vec", "1".parse().unwrap());
            text + &format!("body={}\n", String::from_utf8_lossy(&body))
        }
        other => panic!("{other}"),
    }
}

/// Both services.
pub(crate) fn builder() -> rpc::ServerBuilder<Bundled> {
    Server::builder().add(EchoService::new()).add_with(PlainService::new(), PlainService::options())
}

pub(crate) fn start() -> Server {
    builder().start("127.0.0.1:0").unwrap()
}

/// A plain connection.
pub(crate) fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.local_addr().to_string()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// An answer as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status_line: String,
    /// Names in lower case, in the order in which they came, without `date`.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.status_line[9..12].parse().unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

/// Reads one answer; `to_head`: it has no body whatever it says.
pub(crate) fn read_answer(stream: &mut impl Read, to_head: bool) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream
            .read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error} in the head {:?}", String::from_utf8_lossy(&head)));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status_line = lines.next().unwrap().to_owned();
    let fields: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .filter(|(name, _)| name != "date")
        .collect();
    let mut answer = Answer { status_line, fields, body: Vec::new() };
    let status = answer.status();
    if to_head || status < 200 || matches!(status, 204 | 304) {
        return answer;
    }
    if answer.field("transfer-encoding") == Some("chunked") {
        while read_chunk(stream, &mut answer.body) {}
    } else if let Some(length) = answer.field("content-length") {
        answer.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut answer.body).unwrap();
    } else {
        stream.read_to_end(&mut answer.body).unwrap();
    }
    answer
}

fn read_chunk(stream: &mut impl Read, body: &mut Vec<u8>) -> bool {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    let size = usize::from_str_radix(str::from_utf8(&line).unwrap().trim(), 16).unwrap();
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk).unwrap();
    assert!(chunk.ends_with(b"\r\n"));
    body.extend(&chunk[..size]);
    size > 0
}

/// Sends a request and reads its answer.
pub(crate) fn ask(stream: &mut TcpStream, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(stream, request.starts_with("HEAD"))
}

/// As [`ask`], on a connection of its own.
pub(crate) fn ask_once(server: &Server, request: &str) -> Answer {
    ask(&mut connect(server), request)
}

/// A request with a body.
pub(crate) fn post(path: &str, fields: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// Whether the server closes the connection without another byte.
pub(crate) fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}
