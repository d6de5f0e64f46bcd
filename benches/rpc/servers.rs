//! The table of servers: each row a load, each line a server.

use crate::figures::{number, print_line};
use crate::load::{self, Figures};
use crate::peer::{Peer, on_core};
use crate::rows::{Measured, ROWS, Row};
use crate::{LOOP, Options};

/// `baidu_load` warms a server up for so long.
const WARM_UP_SECS: f64 = 1.0;

pub(crate) fn print(options: &Options) {
    if !ROWS.iter().any(|row| options.wants(row.key)) {
        return;
    }
    let head = [
        "load",
        "server",
        "qps",
        "MB/s",
        "p50, µs",
        "p99",
        "p99.9",
        "CPU a call, µs",
        "× loop",
        "target",
        "met",
    ];
    print_line(&head);
    print_line(&["---"; 11]);
    let mut before = Vec::new();
    for row in ROWS {
        // The row with sleepers is compared with another one.
        if options.wants(row.key) {
            print_row(options, row, &mut before);
        }
    }
    println!();
}

fn print_row(options: &Options, row: &Row, before: &mut Vec<(&'static str, Figures)>) {
    let takes_part = |peer: &&Peer| peer.name != LOOP || row.target.has_floor();
    let peers: Vec<&Peer> = options.servers.iter().filter(takes_part).collect();
    let mut rounds = vec![Vec::new(); peers.len()];
    for _ in 0..options.rounds {
        for (peer, rounds) in peers.iter().zip(&mut rounds) {
            rounds.push(measure(options, row, peer));
        }
    }
    let medians: Vec<Figures> = rounds.iter().map(|rounds| load::medians(rounds)).collect();
    let floor = peers.iter().position(|peer| peer.name == LOOP).map(|index| medians[index]);
    let of_bobbin = |peer: &Peer| !options.is_peer(peer) && peer.name != LOOP;
    let others: Vec<Figures> = peers
        .iter()
        .zip(&medians)
        .filter(|(peer, _)| options.is_peer(peer))
        .map(|(_, figures)| *figures)
        .collect();
    before.push((row.key, medians[0]));
    for (peer, figures) in peers.iter().zip(&medians) {
        let (target, met) = match of_bobbin(peer) {
            true => row.target.judge(&Measured { bobbin: *figures, floor, peers: &others, before }),
            false => (String::new(), None),
        };
        let times = floor.map_or(String::new(), |floor| times(row, figures, &floor));
        let met = met.map_or("", |met| if met { "yes" } else { "no" });
        let volume = figures.qps * row.bytes as f64 / 1e6;
        print_line(&[
            row.title.to_owned(),
            peer.name.clone(),
            number(figures.qps),
            number(volume),
            format!("{:.1}", figures.p50),
            format!("{:.1}", figures.p99),
            format!("{:.1}", figures.p999),
            format!("{:.2}", figures.cpu),
            times,
            target,
            met.to_owned(),
        ]);
    }
}

/// How many times the floor's figures that is: calls a second of a closed loop, latencies of an open one.
fn times(row: &Row, figures: &Figures, floor: &Figures) -> String {
    let is_open = row.load.iter().any(|word| word.starts_with("rate="));
    let latencies = format!(
        "p50 {:.2}, p99 {:.2}, p99.9 {:.2}",
        figures.p50 / floor.p50,
        figures.p99 / floor.p99,
        figures.p999 / floor.p999
    );
    match is_open {
        true => latencies,
        false => format!("{:.3}; {latencies}", figures.qps / floor.qps),
    }
}

fn measure(options: &Options, row: &Row, peer: &Peer) -> Figures {
    let running = peer.start(options.cores.map(|(server, _)| server));
    let program = options.load.to_str().expect("a path in UTF-8");
    let mut command = on_core(options.cores.map(|(_, load)| load), program);
    command.arg(running.address.port().to_string()).args(row.load).arg(format!("secs={}", options.secs));
    let cpu_before = running.cpu_time();
    let mut figures = load::figures(command);
    let cpu = running.cpu_time() - cpu_before;
    let calls = figures.qps * (options.secs as f64 + WARM_UP_SECS);
    figures.cpu = cpu.as_secs_f64() * 1e6 / calls;
    figures
}
