//! Real servers and channels over the simulated network: each test is one scenario, run in fresh processes.

mod fresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bobbin::{CallOptions, Channel, IoBuf, RpcError, Server, ServerCall};
use fresh::{Report, runs};
use sim::{Chaos, LinkOptions, Node, Options, run};

mod example {
    #![allow(missing_docs, unreachable_pub)]
    include!("../../codegen/tests/golden/example.rs");
}
use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;
const PORT: u16 = 8000;

/// Bytes of the attachment of a large call, more than all buffers on the way.
const LARGE: usize = 1 << 20;

/// Gives back what it gets.
struct Echo;

impl EchoService for Echo {
    fn echo(&self, call: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        let attachment = call.take_request_attachment();
        call.response_attachment().append_buf(attachment);
        Ok(EchoResponse { message: request.message })
    }
}

/// Starts the service on a node. It is there as long as the node is.
fn serve(node: &Node) {
    let here = node.clone();
    let start = move || {
        let listener = here.listen(PORT).unwrap();
        let server = Server::builder().add(EchoServer::new(Echo)).start_on(listener).unwrap();
        std::mem::forget(server); // its drop would wait for the end of what the scenario still does
    };
    node.spawn(start).join().unwrap();
}

fn channel(from: &Node, to: &Node, protocol: &str, kind: &str, timeout: Duration) -> Channel {
    Channel::builder()
        .protocol(protocol)
        .connection_type(kind)
        .connector(from.connector())
        .timeout(timeout)
        .connect(to.address(PORT))
        .unwrap()
}

fn call_with(channel: &Channel, text: &str, options: CallOptions) -> Result<(String, IoBuf), RpcError> {
    let request = EchoRequest { message: text.to_owned(), sleep_us: None };
    let reply = EchoStub::new(channel).echo_with(options, &request)?;
    Ok((reply.message.message, reply.attachment))
}

fn call(channel: &Channel, text: &str) -> Result<String, RpcError> {
    call_with(channel, text, CallOptions::default()).map(|(text, _)| text)
}

fn traced() -> Options {
    Options { trace: true, ..Options::default() }
}

fn assert_good(reports: &[Report]) {
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}\n{}", report.violations, report.trace.join("\n"));
    }
}

#[test]
fn calls_go_from_node_to_node_and_a_seed_repeats_them() {
    let reports = runs("calls_go_from_node_to_node_and_a_seed_repeats_them", [1, 1, 2, 3], |seed| {
        run(seed, &traced(), |world| {
            let (a, b) = (world.node("a"), world.node("b"));
            serve(&b);
            let from = a.clone();
            let caller = a.spawn(move || {
                for (protocol, kind) in
                    [("baidu_std", "single"), ("baidu_std", "short"), ("http:proto", "pooled")]
                {
                    let channel = channel(&from, &b, protocol, kind, S(5));
                    for n in 0..5 {
                        assert_eq!(call(&channel, &n.to_string()).unwrap(), n.to_string());
                    }
                }
                let channel = channel(&from, &b, "baidu_std", "single", S(30));
                let mut attachment = IoBuf::new();
                attachment.append_fill(7, LARGE);
                let options = CallOptions::default().request_attachment(attachment);
                assert_eq!(call_with(&channel, "", options).unwrap().1.len(), LARGE);
            });
            caller.join().unwrap();
        })
    });
    assert_good(&reports);
    assert_eq!(reports[0], reports[1]);
    assert_ne!(reports[0].trace_hash, reports[2].trace_hash);
    assert!(reports[0].trace.join("\n").contains("a->b #1: connected"));
    println!("{} steps, {} lines", reports[0].steps, reports[0].trace.len());
}

#[test]
fn a_node_that_crashed_and_is_back_is_found_again() {
    let reports = runs("a_node_that_crashed_and_is_back_is_found_again", 0..5, |seed| {
        run(seed, &traced(), |world| {
            let (a, b) = (world.node("a"), world.node("b"));
            serve(&b);
            let (here, there, world) = (a.clone(), b.clone(), world.clone());
            let caller = a.spawn(move || {
                let channel = channel(&here, &there, "baidu_std", "single", S(1));
                call(&channel, "before").unwrap();
                there.crash();
                assert!(call(&channel, "nobody hears it").is_err());
                there.restart();
                let restarted = there.clone();
                serve(&restarted);
                let began = world.now();
                while call(&channel, "after").is_err() {
                    assert!(world.now() - began < S(60), "it is not found");
                    bthread::sleep(MS(100));
                }
            });
            caller.join().unwrap();
        })
    });
    assert_good(&reports);
    assert!(reports[0].trace.join("\n").contains("RST"));
}

/// The network takes what a stopped node does not read, until its buffers are full, and hands it over when the node goes on.
#[test]
fn a_paused_node_answers_when_it_goes_on() {
    let reports = runs("a_paused_node_answers_when_it_goes_on", 0..3, |seed| {
        run(seed, &traced(), |world| {
            let (a, b) = (world.node("a"), world.node("b"));
            serve(&b);
            let (here, there, inner) = (a.clone(), b.clone(), world.clone());
            let caller = a.spawn(move || {
                let channel = channel(&here, &there, "baidu_std", "single", S(60));
                call(&channel, "before").unwrap();
                there.pause();
                let mut attachment = IoBuf::new();
                attachment.append_fill(7, LARGE);
                let options = CallOptions::default().request_attachment(attachment);
                assert_eq!(call_with(&channel, "", options).unwrap().1.len(), LARGE);
                assert!(inner.now() > S(20), "{:?}", inner.now());
            });
            bthread::sleep(S(20));
            let open = world.network().open_connections().join("; ");
            assert!(open.contains(&format!("{} B unread", sim::BUFFER_DEFAULT)), "{open}");
            b.resume();
            caller.join().unwrap();
        })
    });
    assert_good(&reports);
}

/// Each call ends, in time, whatever happens on the way.
#[test]
fn in_chaos_every_call_ends_once_and_in_time() {
    let reports = runs("in_chaos_every_call_ends_once_and_in_time", 0..10, |seed| {
        run(seed, &traced(), |world| {
            let link = LinkOptions { loss: 0.01, tear: 0.2, ..LinkOptions::default() };
            world.network().set_default_link(link);
            let (a, b) = (world.node("a"), world.node("b"));
            serve(&b);
            let chaos = Chaos::plan(world, 20, S(0)..S(20), MS(10)..S(3), &[a.ip(), b.ip()]);
            let of_chaos = world.clone();
            let troubles = bthread::spawn(move || chaos.run(&of_chaos));
            let good = Arc::new(AtomicU32::new(0));
            let callers: Vec<_> = (0..4)
                .map(|caller| {
                    let (here, there, world, good) = (a.clone(), b.clone(), world.clone(), good.clone());
                    a.spawn(move || {
                        let kind = ["single", "pooled", "short", "single"][caller];
                        let channel = channel(&here, &there, "baidu_std", kind, S(1));
                        for n in 0..50 {
                            let began = world.now();
                            let text = format!("{caller}/{n}");
                            match call(&channel, &text) {
                                Ok(reply) => {
                                    assert_eq!(reply, text);
                                    good.fetch_add(1, Ordering::Relaxed);
                                }
                                Err(error) => world.note(format_args!("call {text}: {error}")),
                            }
                            let took = world.now() - began;
                            assert!(took < MS(1100), "{took:?}");
                            bthread::sleep(MS(300));
                        }
                    })
                })
                .collect();
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            troubles.join().unwrap();
            assert!(good.load(Ordering::Relaxed) > 50, "{good:?}");
        })
    });
    assert_good(&reports);
}
