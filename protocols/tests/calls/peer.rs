//! A server of baidu_std written by hand, for answers that ours does not give.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;

use crate::support::{Channel, EchoRequest, EchoResponse, LONG};

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RequestMeta {
    #[prost(string, tag = "1")]
    pub(crate) service_name: String,
    #[prost(int64, optional, tag = "3")]
    pub(crate) log_id: Option<i64>,
    #[prost(string, tag = "7")]
    pub(crate) request_id: String,
    #[prost(int32, optional, tag = "8")]
    pub(crate) timeout_ms: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ResponseMeta {
    #[prost(int32, tag = "1")]
    error_code: i32,
    #[prost(string, tag = "2")]
    error_text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Meta {
    #[prost(message, optional, tag = "1")]
    pub(crate) request: Option<RequestMeta>,
    #[prost(message, optional, tag = "2")]
    response: Option<ResponseMeta>,
    #[prost(int64, tag = "4")]
    pub(crate) correlation_id: i64,
    #[prost(int32, tag = "5")]
    pub(crate) attachment_size: i32,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) authentication_data: Option<Vec<u8>>,
}

/// A request as it came.
pub(crate) struct Request {
    pub(crate) meta: Meta,
    pub(crate) message: String,
}

impl Request {
    pub(crate) fn timeout_ms(&self) -> Option<i32> {
        self.meta.request.as_ref()?.timeout_ms
    }
}

/// One connection of a peer.
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
    /// From 0, in the order in which they came.
    pub(crate) number: usize,
}

impl Connection {
    /// The next request; `None` at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let mut head = [0; 12];
        self.reader.read_exact(&mut head).ok()?;
        assert_eq!(&head[..4], b"PRPC");
        let size = |at: usize| u32::from_be_bytes(head[at..at + 4].try_into().unwrap()) as usize;
        let mut body = vec![0; size(4)];
        self.reader.read_exact(&mut body).ok()?;
        let (meta, rest) = body.split_at(size(8));
        let meta = Meta::decode(meta).unwrap();
        let rest = &rest[..rest.len() - meta.attachment_size as usize];
        Some(Request { meta, message: EchoRequest::decode(rest).unwrap().message })
    }

    /// Answers a request with a message.
    pub(crate) fn answer(&mut self, request: &Request, message: &str) {
        let response = EchoResponse { message: message.into() }.encode_to_vec();
        self.send(request, ResponseMeta::default(), &response);
    }

    /// Answers a request with an error.
    pub(crate) fn fail(&mut self, request: &Request, error_code: i32, error_text: &str) {
        self.send(request, ResponseMeta { error_code, error_text: error_text.into() }, &[]);
    }

    fn send(&mut self, request: &Request, response: ResponseMeta, body: &[u8]) {
        let correlation_id = request.meta.correlation_id;
        let meta = Meta { response: Some(response), correlation_id, ..Meta::default() }.encode_to_vec();
        let mut frame = b"PRPC".to_vec();
        frame.extend(((meta.len() + body.len()) as u32).to_be_bytes());
        frame.extend((meta.len() as u32).to_be_bytes());
        frame.extend(meta);
        frame.extend(body);
        self.stream.write_all(&frame).unwrap();
    }
}

/// A server whose connections are served by a function, each in a thread of its own, and closed when that returns. It
/// lives as long as the process.
pub(crate) struct Peer {
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    pub(crate) fn new(serve: impl Fn(&mut Connection) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (serve, count) = (Arc::new(serve), connections.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (serve, number) = (serve.clone(), count.fetch_add(1, Ordering::SeqCst));
                stream.set_read_timeout(Some(LONG)).unwrap();
                let reader = BufReader::new(stream.try_clone().unwrap());
                std::thread::spawn(move || serve(&mut Connection { reader, stream, number }));
            }
        });
        Peer { address, connections }
    }

    /// Connections that it has had.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::builder().timeout(LONG).connect(&self.address).unwrap()
    }
}
