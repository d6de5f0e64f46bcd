//! What JSON costs: Bobbin's transcoder beside serde with derived structs, and beside `prost-reflect`.
//!
//! ```text
//! cargo bench -p bobbin-benches --bench json -- [--rounds N]
//! ```
//!
//! One thread. serde's figure is for a struct from or to JSON; a service has to have protobuf beside it, so
//! `serde + prost` is what makes of the one text the same bytes. A figure is the best of the rounds, in which all take
//! turns.

mod structs;

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use rpc::Schema;
use rpc::json::{JsonOptions, json_to_proto, proto_to_json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use structs::{Hello, Order};

/// Conversions in one round.
const CONVERSIONS: u32 = 1_000;
/// Many and short, so that some are not interrupted.
const ROUNDS: usize = 300;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let rounds = match (args.next().as_deref(), args.next()) {
        (None, _) => ROUNDS,
        (Some("--rounds"), Some(rounds)) => rounds.parse().expect("a number"),
        other => panic!("unknown option {other:?}"),
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("json");
    let set = protox::compile(["messages.proto"], [dir]).expect("a good file");
    let schema = Schema::new(set.encode_to_vec().leak());
    let hello = Hello { message: "hello".into() };
    compare("hello", &Case::new(&schema, "bench.Hello", &hello), rounds);
    compare("order", &Case::new(&schema, "bench.Order", &Order::sample()), rounds);
}

/// One message in both forms.
struct Case<'s, M> {
    schema: &'s Schema,
    name: &'static str,
    descriptor: MessageDescriptor,
    message: M,
    json: Vec<u8>,
    wire: Vec<u8>,
}

impl<'s, M: prost::Message + Serialize + DeserializeOwned + PartialEq> Case<'s, M> {
    fn new(schema: &'s Schema, name: &'static str, message: &M) -> Self
    where
        M: Clone,
    {
        let wire = message.encode_to_vec();
        let mut json = Vec::new();
        proto_to_json(schema, name, &wire, &JsonOptions::default(), &mut json).expect("a good message");
        assert!(serde_json::from_slice::<M>(&json).expect("good JSON") == *message, "all mean the same");
        let descriptor = schema.message(name).expect("it is in the file");
        Case { schema, name, descriptor, message: message.clone(), json, wire }
    }

    fn json_to_proto(&self) -> usize {
        json_to_proto(self.schema, self.name, &self.json, &JsonOptions::default()).expect("good").0.len()
    }

    fn proto_to_json(&self) -> usize {
        let mut out = Vec::new();
        proto_to_json(self.schema, self.name, &self.wire, &JsonOptions::default(), &mut out).expect("good");
        out.len()
    }

    fn parsed(&self) -> M {
        serde_json::from_slice(&self.json).expect("good")
    }

    fn to_json(message: &M) -> usize {
        serde_json::to_vec(message).expect("good").len()
    }

    fn reflected_from_json(&self) -> usize {
        let mut deserializer = serde_json::Deserializer::from_slice(&self.json);
        let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut deserializer).expect("good");
        message.encode_to_vec().len()
    }

    fn reflected_to_json(&self) -> usize {
        let message = DynamicMessage::decode(self.descriptor.clone(), self.wire.as_slice()).expect("good");
        serde_json::to_vec(&message).expect("good").len()
    }
}

fn compare<M>(name: &str, case: &Case<'_, M>, rounds: usize)
where
    M: prost::Message + Serialize + DeserializeOwned + PartialEq + Clone + Default,
{
    println!(
        "{name}: {} bytes of JSON, {} of protobuf (in brackets: times Bobbin's)",
        case.json.len(),
        case.wire.len()
    );
    let decode = || M::decode(case.wire.as_slice()).expect("good");
    let read: [(&str, &dyn Fn() -> usize); 4] = [
        ("bobbin", &|| case.json_to_proto()),
        ("serde", &|| size_of_val(&black_box(case.parsed()))),
        ("serde + prost", &|| case.parsed().encode_to_vec().len()),
        ("prost-reflect", &|| case.reflected_from_json()),
    ];
    print("JSON to protobuf", &read, rounds);
    let write: [(&str, &dyn Fn() -> usize); 4] = [
        ("bobbin", &|| case.proto_to_json()),
        ("serde", &|| Case::to_json(&case.message)),
        ("serde + prost", &|| Case::to_json(&decode())),
        ("prost-reflect", &|| case.reflected_to_json()),
    ];
    print("protobuf to JSON", &write, rounds);
}

fn print(what: &str, peers: &[(&str, &dyn Fn() -> usize)], rounds: usize) {
    let mut best = vec![f64::INFINITY; peers.len()];
    for _ in 0..rounds {
        for ((_, convert), best) in peers.iter().zip(&mut best) {
            *best = best.min(nanoseconds(*convert));
        }
    }
    let cells =
        peers.iter().zip(&best).map(|((name, _), ns)| format!("{name} {ns:.0} ns ({:.1})", ns / best[0]));
    println!("  {what}: {}", cells.collect::<Vec<_>>().join(", "));
}

/// What one conversion takes.
fn nanoseconds(convert: &dyn Fn() -> usize) -> f64 {
    let start = Instant::now();
    for _ in 0..CONVERSIONS {
        black_box(convert());
    }
    start.elapsed().as_nanos() as f64 / f64::from(CONVERSIONS)
}
