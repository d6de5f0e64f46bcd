//! Real servers and channels over the simulated network: each test is one scenario, run in fresh processes.

mod fresh;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fresh::{Report, runs};
use iobuf::IoBuf;
use protocols::Bundled;
use rpc::error::ETIMEDOUT;
use rpc::{
    CallOptions, MessageSchema, MethodDescriptor, ProtoMessage, RpcError, Schema, ServerCall, Service,
    ServiceDescriptor,
};
use sim::{Chaos, Fault, LinkOptions, Node, Options, run};

type Channel = rpc::Channel<Bundled>;

const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;
const PORT: u16 = 8000;

/// Bytes of the attachment of a large call, more than all buffers on the way.
const LARGE: usize = 1 << 20;

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

impl ProtoMessage for Text {
    const FULL_NAME: &'static str = "test.Text";
    const SCHEMA: Option<&'static MessageSchema> = None;
}

static SCHEMA: Schema = Schema::new(&[]);

static ECHO: ServiceDescriptor = ServiceDescriptor {
    full_name: "test.Echo",
    methods: &[MethodDescriptor {
        name: "Echo",
        full_name: "test.Echo.Echo",
        request_type: "test.Text",
        response_type: "test.Text",
        schema: &SCHEMA,
    }],
    schema: &SCHEMA,
};

/// Gives back what it gets.
struct Echo;

impl Service for Echo {
    fn descriptor(&self) -> &'static ServiceDescriptor {
        &ECHO
    }

    fn call(&self, _: usize, call: ServerCall, body: IoBuf) {
        rpc::unary(call, body, |call: &mut ServerCall, request: Text| -> Result<Text, RpcError> {
            let attachment = call.take_request_attachment();
            call.response_attachment().append_buf(attachment);
            Ok(request)
        });
    }
}

/// Starts the service on a node. It is there as long as the node is.
fn serve(node: &Node) {
    let here = node.clone();
    let start = move || {
        let server =
            rpc::Server::<Bundled>::builder().add(Echo).start_on(here.listen(PORT).unwrap()).unwrap();
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
        .connect(&to.address(PORT))
        .unwrap()
}

fn call_with(channel: &Channel, text: &str, options: CallOptions) -> Result<(String, IoBuf), RpcError> {
    let request = Text { text: text.to_owned() };
    let reply: rpc::Reply<Text> = channel.call(&ECHO.methods[0], options, &request)?;
    Ok((reply.message.text, reply.attachment))
}

fn call(channel: &Channel, text: &str) -> Result<String, RpcError> {
    call_with(channel, text, CallOptions::default()).map(|(text, _)| text)
}

fn traced() -> Options {
    Options { trace: true, ..Options::default() }
}

fn assert_good(reports: &[Report]) {
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}\n{}", report.violations, report.text());
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
    assert!(reports[0].text().contains("a->b #1: connected"));
    println!("{} steps, {} lines", reports[0].steps, reports[0].trace.len());
}

#[test]
fn a_partition_makes_calls_fail_in_time_and_healing_lets_them_succeed() {
    let name = "a_partition_makes_calls_fail_in_time_and_healing_lets_them_succeed";
    let reports = runs(name, 0..5, |seed| {
        run(seed, &traced(), |world| {
            let (a, b) = (world.node("a"), world.node("b"));
            serve(&b);
            let fault = Fault::Partition { a: a.ip(), b: b.ip() };
            let (here, world) = (a.clone(), world.clone());
            let caller = a.spawn(move || {
                let channel = channel(&here, &b, "baidu_std", "single", S(1));
                call(&channel, "before").unwrap();
                world.network().inject(fault);
                let began = world.now();
                assert_eq!(call(&channel, "lost").unwrap_err().code(), rpc::error::ERPCTIMEDOUT);
                let took = world.now() - began;
                assert!(took >= S(1) && took < MS(1100), "{took:?}");
                world.network().heal();
                bthread::sleep(S(5));
                assert_eq!(call(&channel, "after").unwrap(), "after");
            });
            caller.join().unwrap();
        })
    });
    assert_good(&reports);
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
    assert!(reports[0].text().contains("RST"));
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
                                Err(error) => assert_ne!(error.code(), ETIMEDOUT, "{error}"),
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
