//! A peer of the HTTP benchmark: hyper on a tokio runtime of one thread, with serde for the JSON.
//!
//! ```text
//! http_hyper ADDRESS
//! ```
//!
//! Answers `POST /EchoService/Echo` with the message of the JSON body, and `GET /hello` with a line of text, until a
//! signal ends it.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::{self, LocalSet};

#[derive(Deserialize)]
struct EchoRequest {
    message: String,
}

#[derive(Serialize)]
struct EchoResponse {
    message: String,
}

async fn echo(request: Request<Incoming>) -> Result<Vec<u8>, Box<dyn Error>> {
    let body = request.into_body().collect().await?.to_bytes();
    let EchoRequest { message } = serde_json::from_slice(&body)?;
    Ok(serde_json::to_vec(&EchoResponse { message })?)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let reply = |status, content_type, body: Bytes| {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Ok(response)
    };
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/EchoService/Echo") => match echo(request).await {
            Ok(body) => reply(StatusCode::OK, "application/json", body.into()),
            Err(error) => reply(StatusCode::BAD_REQUEST, "text/plain", error.to_string().into()),
        },
        (&Method::GET, "/hello") => reply(StatusCode::OK, "text/plain", Bytes::from_static(b"hello\n")),
        _ => reply(StatusCode::NOT_FOUND, "text/plain", Bytes::from_static(b"nothing here\n")),
    }
}

async fn serve(address: String) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        task::spawn_local(async move {
            // A connection that fails is the client's affair: it counts errors.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: http_hyper ADDRESS")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, serve(address))
}
