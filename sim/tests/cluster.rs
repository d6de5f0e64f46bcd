//! Real servers and channels on simulated nodes.

mod fresh;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bobbin::{Channel, RpcError, Server, ServerCall};
use fresh::runs;
use sim::{Options, Outcome, World, run};

mod example {
    #![allow(missing_docs, unreachable_pub)]
    include!("../../codegen/tests/golden/example.rs");
}
use example::{EchoRequest, EchoResponse, EchoServer, EchoService, EchoStub};

const PORT: u16 = 8000;
const MS: fn(u64) -> Duration = Duration::from_millis;
const S: fn(u64) -> Duration = Duration::from_secs;

struct Echo;

impl EchoService for Echo {
    fn echo(&self, _: &mut ServerCall, request: EchoRequest) -> Result<EchoResponse, RpcError> {
        bthread::sleep(Duration::from_micros(request.sleep_us.unwrap_or(0).unsigned_abs().into()));
        Ok(EchoResponse { message: request.message })
    }
}

fn serve(node: &sim::Node) {
    let own = node.clone();
    let started = node.spawn(move || {
        let listener = own.listen(PORT).unwrap();
        std::mem::forget(Server::builder().add(EchoServer::new(Echo)).start_on(listener).unwrap());
    });
    started.join().unwrap();
}

/// A client calls a server, which crashes, comes back, and is cut off for a while. Calls end in time, well or not.
fn scenario(world: &World) {
    let (server, client) = (world.node("server"), world.node("client"));
    serve(&server);
    let address = server.address(PORT);
    let (own, inner) = (client.clone(), world.clone());
    let calls = client.spawn(move || {
        let builder = Channel::builder().protocol("baidu_std").timeout(MS(200));
        let channel = builder.connector(own.connector()).connect(&*address).unwrap();
        let echo = EchoStub::new(&channel);
        let mut outcomes = HashMap::new();
        for number in 0..400 {
            let request = EchoRequest { message: format!("message {number}"), sleep_us: Some(number * 10) };
            let began = Instant::now();
            let code = match echo.echo(&request) {
                Ok(reply) => {
                    assert_eq!(reply.message, request.message);
                    "success".to_owned()
                }
                Err(error) => format!("{:?}", error.code()),
            };
            assert!(began.elapsed() < MS(220), "{:?}", began.elapsed());
            inner.note(format_args!("call {number} ends with {code}"));
            *outcomes.entry(code == "success").or_insert(0) += 1;
            bthread::sleep(MS(50));
        }
        (outcomes[&true], outcomes[&false])
    });
    bthread::sleep(S(3));
    server.crash();
    bthread::sleep(S(2));
    server.restart();
    serve(&server);
    bthread::sleep(S(5));
    let fault = sim::Fault::Partition { a: server.ip(), b: client.ip() };
    world.network().inject(fault);
    bthread::sleep(S(2));
    world.network().heal();
    let (well, badly) = calls.join().unwrap();
    assert!(well > 200 && badly > 5, "{well} {badly}");
}

fn one(seed: u64) -> Outcome {
    run(seed, &Options { trace: true, ..Options::default() }, scenario)
}

#[test]
fn calls_end_well_or_in_time_and_a_seed_repeats_them() {
    let seeds = (0..10).flat_map(|seed| [seed, seed]);
    let reports = runs("calls_end_well_or_in_time_and_a_seed_repeats_them", seeds, one);
    for pair in reports.chunks(2) {
        assert!(pair[0].violations.is_empty(), "{:?}\n{}", pair[0].violations, pair[0].trace.join("\n"));
        assert_eq!(pair[0], pair[1]);
    }
}

/// A cluster that has connections and nothing to do.
#[test]
fn an_hour_without_calls_takes_no_time() {
    let reports = runs("an_hour_without_calls_takes_no_time", 0..3, |seed| {
        run(seed, &Options { time_limit: S(3700), ..Options::default() }, |world| {
            let nodes: Vec<_> = (0..5).map(|number| world.node(&format!("node{number}"))).collect();
            nodes.iter().for_each(serve);
            for node in &nodes {
                let (own, peers) = (node.clone(), nodes.clone());
                let called = node.spawn(move || {
                    for peer in peers {
                        let builder = Channel::builder().protocol("baidu_std").connector(own.connector());
                        let channel = builder.connect(&*peer.address(PORT)).unwrap();
                        let request = EchoRequest { message: "hello".to_owned(), sleep_us: None };
                        EchoStub::new(&channel).echo(&request).unwrap();
                        std::mem::forget(channel);
                    }
                });
                called.join().unwrap();
            }
            bthread::sleep(S(3600));
        })
    });
    for report in reports {
        assert!(report.violations.is_empty(), "{:?}", report.violations);
        assert!(report.virtual_time >= S(3600));
        assert!(report.steps < 100_000, "something ticks: {}", report.steps);
        println!("{} steps", report.steps);
    }
}
