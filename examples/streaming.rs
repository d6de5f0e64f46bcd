//! A server and a client in one process that talk over streams: one that a handler echoes, one that is read to its end
//! while the other side goes on writing.

use std::error::Error;
use std::time::Duration;

use bobbin::{
    CallOptions, Channel, IoBuf, RpcError, Server, ServerCall, StreamHandler, StreamOptions, StreamWriter,
    bthread,
};
use bobbin_examples::example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};

const NUMBERS: u32 = 100_000;

/// Sends back what it gets.
struct Echo;

impl StreamHandler for Echo {
    fn on_received_messages(&self, stream: &StreamWriter, messages: &mut Vec<IoBuf>) {
        for message in messages.drain(..) {
            if stream.write(message).is_err() {
                return; // the stream has ended
            }
        }
    }

    fn on_idle_timeout(&self, stream: &StreamWriter) {
        stream.close();
    }

    fn on_closed(&self, stream: &StreamWriter) {
        println!("server: stream {} is closed", stream.id());
    }
}

/// Accepts the stream of a call; the message of the request says what it is for.
struct Streams;

impl EchoService for Streams {
    fn echo(&self, call: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        if request.message == "echo" {
            call.accept_stream(StreamOptions::default().handler(Echo).idle_timeout(Duration::from_secs(30)))?;
        } else {
            let stream = call.accept_stream(StreamOptions::default().write_only())?;
            bthread::spawn(move || {
                for number in 0..NUMBERS {
                    if stream.write(&number.to_be_bytes()).is_err() {
                        return;
                    }
                }
                stream.close();
            });
        }
        Ok(EchoResponse { message: "accepted".to_owned() })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let server = Server::builder().add(EchoServer::new(Streams)).start("127.0.0.1:0")?;
    let channel = Channel::builder().connect(server.local_addr())?;
    let stub = EchoStub::new(&channel);

    let (options, mut stream) = CallOptions::default().open_stream(StreamOptions::default())?;
    stub.echo_with(options, &EchoRequest { message: "echo".to_owned(), ..Default::default() })?;
    for text in ["one", "two", "three"] {
        stream.write(text)?;
        let answer = stream.read()?.ok_or("the server has closed the stream")?;
        println!("client: {}", String::from_utf8_lossy(&answer.to_vec()));
    }
    stream.close();

    let (options, numbers) = CallOptions::default().open_stream(StreamOptions::default())?;
    stub.echo_with(options, &EchoRequest { message: "numbers".to_owned(), ..Default::default() })?;
    let mut count = 0;
    for message in numbers {
        message?;
        count += 1;
    }
    println!("client: {count} numbers, in order, and then the end");

    server.stop();
    server.join();
    Ok(())
}
