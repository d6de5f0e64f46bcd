//! The table of clients and servers: every client with every server, in each way of sharing connections.

use crate::figures::{number, print_line};
use crate::load::{self, Figures};
use crate::peer::{Peer, on_core};
use crate::{LOOP, Options};

/// Bthreads of a client, each with one call in flight.
pub(crate) const BTHREADS: usize = 50;
const TYPES: [&str; 3] = ["single", "pooled", "short"];
/// What Bobbin's pair should reach of each other pair of client and server of one kind.
const PAIR_TIMES: f64 = 2.0;

/// One client with one server.
struct Pair<'a> {
    client: &'a (String, String),
    server: &'a Peer,
}

pub(crate) fn print(options: &Options) {
    let wanted: Vec<&str> = TYPES.into_iter().filter(|kind| options.wants(kind)).collect();
    if wanted.is_empty() {
        return;
    }
    println!("{BTHREADS} synchronous bthreads, 16 bytes, client and server on all cores:\n");
    print_line(&[
        "connections",
        "client",
        "server",
        "qps",
        "p50, µs",
        "p99",
        "p99.9",
        "server's CPU a call, µs",
        "target",
        "met",
    ]);
    print_line(&["---"; 10]);
    let servers = || options.servers.iter().filter(|server| server.name != LOOP);
    let pairs: Vec<Pair<'_>> = options
        .clients
        .iter()
        .flat_map(|client| servers().map(move |server| Pair { client, server }))
        .collect();
    for kind in wanted {
        let mut rounds = vec![Vec::new(); pairs.len()];
        for _ in 0..options.rounds {
            for (pair, rounds) in pairs.iter().zip(&mut rounds) {
                rounds.push(measure(options, kind, pair));
            }
        }
        let medians: Vec<Figures> = rounds.iter().map(|rounds| load::medians(rounds)).collect();
        for (pair, figures) in pairs.iter().zip(&medians) {
            let (target, met) = judge(options, &pairs, &medians, pair, figures);
            print_line(&[
                kind.to_owned(),
                pair.client.0.clone(),
                pair.server.name.clone(),
                number(figures.qps),
                number(figures.p50),
                number(figures.p99),
                number(figures.p999),
                format!("{:.2}", figures.cpu),
                target,
                met.map_or("", |met| if met { "yes" } else { "no" }).to_owned(),
            ]);
        }
    }
    println!();
}

/// What Bobbin's client should reach, and whether it does.
fn judge(
    options: &Options,
    pairs: &[Pair<'_>],
    medians: &[Figures],
    pair: &Pair<'_>,
    figures: &Figures,
) -> (String, Option<bool>) {
    if pair.client.0 != options.clients[0].0 {
        return (String::new(), None);
    }
    // Those of other clients with a server of their own kind.
    let own = || pairs.iter().zip(medians).filter(|(other, _)| other.client.0 == other.server.name);
    if options.is_peer(pair.server) {
        let theirs = own().find(|(other, _)| other.server.name == pair.server.name);
        return ("≥ its own client".to_owned(), theirs.map(|(_, theirs)| figures.qps >= theirs.qps));
    }
    let mut others = own().filter(|(other, _)| options.is_peer(other.server)).peekable();
    let is_known = others.peek().is_some();
    let met = others.all(|(_, theirs)| figures.qps >= PAIR_TIMES * theirs.qps);
    (format!("≥ {PAIR_TIMES} × other pairs"), is_known.then_some(met))
}

fn measure(options: &Options, kind: &str, pair: &Pair<'_>) -> Figures {
    let running = pair.server.start(None);
    let (address, secs) = (running.address.to_string(), options.secs.to_string());
    let fill =
        |word: &str| word.replace("{server}", &address).replace("{type}", kind).replace("{secs}", &secs);
    let mut words = pair.client.1.split_whitespace().map(fill);
    let mut command = on_core(None, &words.next().expect("a command is needed"));
    command.args(words);
    let cpu_before = running.cpu_time();
    let mut figures = load::figures(command);
    // Some of it is the warm-up's, where a client has one.
    figures.cpu = (running.cpu_time() - cpu_before).as_secs_f64() * 1e6 / (figures.qps * options.secs as f64);
    figures
}
