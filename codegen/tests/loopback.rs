//! Generated servers and stubs talk to each other, over TCP, in every way there is.

#[allow(missing_docs)] // prost documents what the `.proto` does
pub mod generated {
    include!("golden/protos.rs");
}

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use bobbin::rpc::error::{EINTERNAL, EREQUEST};
use bobbin::{CallOptions, Channel, IoBuf, Responder, RpcError, Server, ServerCall, Service};
use generated::shop::v1::order::Card;
use generated::shop::v1::{
    Item, Order, OrderServer, OrderService, OrderServiceAsync, OrderStub, Plain, Refund, RefundServer,
    RefundStub,
};

const NO_SUCH_ORDER: i32 = 1234;

struct Shop;

fn receipt(order: &Order) -> Plain {
    Plain { text: Some(format!("{} items", order.items.len())), next: None }
}

fn no_such_order() -> RpcError {
    RpcError::new(NO_SUCH_ORDER, "no such order")
}

impl OrderService for Shop {
    fn place(&self, cntl: &mut ServerCall, order: Order) -> Result<Plain, RpcError> {
        let attachment = cntl.take_request_attachment();
        cntl.response_attachment().append_buf(attachment);
        Ok(receipt(&order))
    }

    fn cancel(&self, _: &mut ServerCall, order: Plain) -> Result<(), RpcError> {
        order.text.map(drop).ok_or_else(no_such_order)
    }
}

impl OrderServiceAsync for Shop {
    fn place(&self, order: Order, mut responder: Responder<Plain>) {
        thread::spawn(move || {
            let attachment = responder.call_mut().take_request_attachment();
            responder.call_mut().response_attachment().append_buf(attachment);
            responder.send(Ok(receipt(&order)));
        });
    }

    fn cancel(&self, order: Plain, responder: Responder<()>) {
        responder.send(order.text.map(drop).ok_or_else(no_such_order));
    }
}

impl Refund for Shop {
    fn ask(&self, _: &mut ServerCall, _: Card) -> Result<Plain, RpcError> {
        panic!("no refunds")
    }
}

/// Drops what it should answer with.
struct Closed;

impl OrderServiceAsync for Closed {
    fn place(&self, _: Order, _: Responder<Plain>) {}

    fn cancel(&self, _: Plain, _: Responder<()>) {}
}

fn serve(service: impl Service) -> (Server, Channel) {
    let server = Server::builder().add(service).start("127.0.0.1:0").unwrap();
    let channel = Channel::builder().connect(server.local_addr()).unwrap();
    (server, channel)
}

fn order() -> Order {
    let item = Item { id: 7, r#type: "ticket".into(), parts: Vec::new() };
    Order { items: vec![item.clone(), item], ..Order::default() }
}

/// Runs a future on this thread, as any executor would.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn every_way_to_call_brings_the_reply(service: impl Service) {
    let (server, channel) = serve(service);
    let stub = OrderStub::new(&channel).clone();
    let options = || CallOptions::default().request_attachment(IoBuf::from("tip"));
    let placed = Plain { text: Some("2 items".into()), next: None };

    assert_eq!(stub.place(&order()).unwrap(), placed);
    let reply = stub.place_with(options(), &order()).unwrap();
    assert_eq!((reply.message, reply.attachment), (placed.clone(), IoBuf::from("tip")));

    assert_eq!(stub.start_place(&order()).join().unwrap(), placed);
    assert_eq!(block_on(stub.start_place(&order())).unwrap(), placed);
    let reply = stub.start_place_with(options(), &order()).join_reply().unwrap();
    assert_eq!((reply.message, reply.attachment), (placed.clone(), IoBuf::from("tip")));

    let (done, result) = mpsc::channel();
    stub.place_then(order(), move |result| done.send(result).unwrap());
    assert_eq!(result.recv().unwrap().unwrap(), placed);
    let (done, result) = mpsc::channel();
    stub.place_then_with(options(), order(), move |result| done.send(result).unwrap());
    let reply = result.recv().unwrap().unwrap();
    assert_eq!((reply.message, reply.attachment), (placed, IoBuf::from("tip")));

    server.stop();
    server.join();
}

#[test]
fn every_way_to_call_reaches_handlers_that_return() {
    every_way_to_call_brings_the_reply(OrderServer::new(Shop));
}

#[test]
fn every_way_to_call_reaches_handlers_that_answer_later() {
    every_way_to_call_brings_the_reply(OrderServer::new_async(Shop));
}

#[test]
fn every_way_to_call_reaches_handlers_that_are_shared() {
    let shared = Arc::new(Shop);
    every_way_to_call_brings_the_reply(OrderServer::new(shared.clone()));
    every_way_to_call_brings_the_reply(OrderServer::new_async(shared));
    let chosen_at_run_time: Arc<dyn OrderService> = Arc::new(Shop);
    every_way_to_call_brings_the_reply(OrderServer::new(chosen_at_run_time));
}

#[test]
#[expect(deprecated, reason = "the method is, in the .proto")]
fn a_handlers_error_reaches_the_client() {
    for service in [OrderServer::new(Shop), OrderServer::new_async(Shop)] {
        let (_server, channel) = serve(service);
        let error = OrderStub::new(&channel).cancel(&Plain::default()).unwrap_err();
        assert_eq!(error.code(), NO_SUCH_ORDER);
        assert!(error.text().contains("no such order"), "{error}");
    }
}

#[test]
fn a_panic_in_a_handler_fails_its_call_alone() {
    let (_server, channel) = serve(RefundServer::new(Shop));
    for _ in 0..2 {
        let error = RefundStub::new(&channel).ask(&Card::default()).unwrap_err();
        assert_eq!(error.code(), EINTERNAL);
        assert!(error.text().contains("no refunds"), "{error}");
    }
}

#[test]
fn a_responder_dropped_unsent_answers_with_an_error() {
    let (_server, channel) = serve(OrderServer::new_async(Closed));
    assert_eq!(OrderStub::new(&channel).place(&order()).unwrap_err().code(), EINTERNAL);
}

#[test]
fn a_request_without_its_required_field_is_refused() {
    let (_server, channel) = serve(RefundServer::new(Shop));
    // An empty message, where the method wants a `Card`.
    let reply = channel.call::<(), Plain>(&RefundServer::DESCRIPTOR.methods[0], CallOptions::default(), &());
    let error = reply.map(|reply| reply.message).unwrap_err();
    assert_eq!(error.code(), EREQUEST);
}
