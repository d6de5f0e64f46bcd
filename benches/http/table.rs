//! The tables: each server's throughput and latencies beside those of the others.

use crate::Options;
use crate::exchange::Kind;
use crate::figures::{median, number, print_line};
use crate::load::{self, Latencies};
use crate::peer::Peer;

/// Half of what a server can do.
const HALF: f64 = 0.5;

pub(crate) fn print(options: &Options, kind: Kind, with_half: bool) {
    let peers: Vec<&Peer> = options.peers.iter().filter(|peer| peer.can(kind)).collect();
    for peer in &peers {
        let running = peer.start(options.server_core);
        kind.check(&peer.name, running.address);
    }
    let mut rates = vec![Vec::new(); peers.len()];
    for _ in 0..options.rounds {
        for (peer, rates) in peers.iter().zip(&mut rates) {
            let running = peer.start(options.server_core);
            rates.push(load::throughput(options, kind, running.address));
        }
    }
    let medians: Vec<f64> =
        rates.iter().map(|rates| median(rates.clone()).expect("a round at least")).collect();

    let mut head = vec![kind.key()];
    head.extend(peers.iter().map(|peer| peer.name.as_str()));
    print_line(&head);
    print_line(&vec!["---"; head.len()]);
    print_row("requests/s", &medians);
    let spread = |rates: &Vec<f64>| {
        let (least, most) =
            rates.iter().fold((f64::MAX, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
        format!("{} to {}", number(least), number(most))
    };
    let mut cells = vec!["lowest to highest round".to_owned()];
    cells.extend(rates.iter().map(spread));
    print_line(&cells);

    if with_half {
        let least = medians.iter().copied().fold(f64::MAX, f64::min);
        let own: Vec<f64> = medians.iter().map(|median| median * HALF).collect();
        print_latencies(options, kind, &peers, "half of its own load", &own);
        let same = vec![least * HALF; peers.len()];
        print_latencies(options, kind, &peers, "half of the slowest's load", &same);
    }
    println!();
}

fn print_latencies(options: &Options, kind: Kind, peers: &[&Peer], title: &str, rates: &[f64]) {
    let mut rounds: Vec<Vec<Latencies>> = vec![Vec::new(); peers.len()];
    for _ in 0..options.rounds {
        for ((peer, rate), rounds) in peers.iter().zip(rates).zip(&mut rounds) {
            let running = peer.start(options.server_core);
            rounds.push(load::latencies(options, kind, running.address, *rate));
        }
    }
    let of = |pick: fn(&Latencies) -> f64| -> Vec<f64> {
        let all = rounds.iter().map(|rounds| median(rounds.iter().map(pick).collect()));
        all.map(|median| median.expect("a round at least")).collect()
    };
    let mut cells = vec![format!("at {title}, requests/s")];
    cells.extend(rates.iter().map(|rate| number(*rate)));
    print_line(&cells);
    print_row("p50, µs", &of(|latencies| latencies.p50));
    print_row("p99, µs", &of(|latencies| latencies.p99));
    print_row("p99.9, µs", &of(|latencies| latencies.p999));
    let behind = |rounds: &Vec<Latencies>| rounds.iter().filter(|latencies| !latencies.kept_up).count();
    if rounds.iter().map(behind).any(|count| count > 0) {
        let mut cells = vec!["rounds that it did not keep up in".to_owned()];
        cells.extend(rounds.iter().map(|rounds| behind(rounds).to_string()));
        print_line(&cells);
    }
}

fn print_row(title: &str, figures: &[f64]) {
    let mut cells = vec![title.to_owned(), number(figures[0])];
    cells.extend(
        figures[1..].iter().map(|figure| format!("{} ({:.2}×)", number(*figure), figure / figures[0])),
    );
    print_line(&cells);
}
