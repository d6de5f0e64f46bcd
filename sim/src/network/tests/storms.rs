//! Whatever goes wrong: streams stay streams, what was healed goes on, and in the end there is rest. Programs here do as
//! those that wait for events: they read and write only when they were told that they can.

use super::*;
use crate::Random;
use crate::network::Fault;

/// Longest payload of one direction.
const BYTES_MAX: u64 = 150_000;

const SEEDS: u64 = 50;

/// One direction of a connection: who has written how much, and what came out.
struct Flow {
    bytes: Vec<u8>,
    written: usize,
    got: Vec<u8>,
    has_ended: bool,
    /// Written when the partition that lasts began.
    before_cut: Option<usize>,
}

impl Flow {
    fn draw(random: &mut Random) -> Self {
        let bytes = (0..random.below(BYTES_MAX)).map(|_| random.u64() as u8).collect();
        Flow { bytes, written: 0, got: Vec::new(), has_ended: false, before_cut: None }
    }

    fn is_complete(&self) -> bool {
        self.got.len() == self.bytes.len()
    }
}

struct Link {
    client: End,
    server: Option<End>,
    /// To the server and back.
    flows: [Flow; 2],
}

/// Does what the end was told of. `false` once it has failed.
fn serve(end: &End, out: &mut Flow, back: &mut Flow, seed: u64) -> bool {
    let told = end.told.take();
    if told.iter().any(|ready| ready.is_writable()) {
        match end.write(&out.bytes[out.written..]) {
            Ok(n) => out.written += n,
            Err(_) => return false,
        }
    }
    if told.iter().any(|ready| ready.is_readable()) {
        match end.read() {
            Ok((bytes, has_ended)) => {
                let from = back.got.len();
                let is_next = back.bytes.get(from..).is_some_and(|rest| rest.starts_with(&bytes));
                assert!(is_next, "seed {seed}: lost, doubled or in another order");
                back.got.extend(bytes);
                back.has_ended |= has_ended;
            }
            Err(_) => return false,
        }
    }
    assert!(back.before_cut.is_none_or(|most| back.got.len() <= most), "seed {seed}: through a partition");
    true
}

struct Storm {
    lab: Lab,
    listener: SimListener,
    random: Random,
    links: Vec<Link>,
    seed: u64,
    failed: usize,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut random = Random::stream(seed, "storm", 0);
        let least = random.duration(Duration::ZERO, 20 * MS);
        let most = least + random.duration(Duration::ZERO, *random.clone().pick(&[MS, 30 * MS, 400 * MS]));
        let link = LinkOptions {
            latency: least..most,
            bandwidth: random.chance(0.3).then(|| random.between(50_000, 10_000_000)),
            loss: *random.pick(&[0.0, 0.01, 0.2]),
            tear: *random.pick(&[0.0, 0.05, 0.8]),
        };
        let lab = Lab::of_seed(seed, link);
        let listener = lab.listen();
        Storm { lab, listener, random, links: Vec::new(), seed, failed: 0 }
    }

    fn dial(&mut self) {
        let mut options = SocketOptions::default();
        options.send_buffer_size = self.random.chance(0.3).then_some(4096);
        options.recv_buffer_size = self.random.chance(0.3).then_some(4096);
        let client = self.lab.dial_with(&options);
        let flows = [Flow::draw(&mut self.random), Flow::draw(&mut self.random)];
        self.links.push(Link { client, server: None, flows });
    }

    /// Lets so much time pass, in parts, and everybody do what they can.
    fn pass(&mut self, time: Duration) {
        let end = self.lab.now() + time;
        while self.lab.now() < end {
            let part = self.random.duration(MS, 100 * MS).min(end - self.lab.now());
            self.lab.pass(part);
            self.accept();
            let seed = self.seed;
            self.links.retain_mut(|link| {
                let [there, back] = &mut link.flows;
                let is_well = serve(&link.client, there, back, seed)
                    && link.server.as_ref().is_none_or(|server| serve(server, back, there, seed));
                self.failed += usize::from(!is_well);
                is_well
            });
        }
    }

    fn accept(&mut self) {
        while let Ok((transport, remote)) = self.listener.accept() {
            let is_peer = |link: &&mut Link| link.client.transport.local().unwrap() == remote;
            match self.links.iter_mut().find(is_peer) {
                Some(link) => link.server = Some(End::new(transport)),
                None => drop(transport), // given up meanwhile
            }
        }
    }

    fn cut(&mut self, is_cut: bool) {
        for flow in self.links.iter_mut().flat_map(|link| &mut link.flows) {
            flow.before_cut = is_cut.then_some(flow.written);
        }
    }

    fn lasting(&mut self) -> Fault {
        loop {
            let fault = Fault::draw(&mut self.random, &[A, B]);
            if fault.is_lasting() {
                return fault;
            }
        }
    }

    /// Nobody has anything any more.
    fn check_rest(self) {
        let Storm { lab, links, listener, seed, .. } = self;
        drop((links, listener));
        // What was closed is sent for a while, and forgotten then.
        lab.pass(2000 * SECOND);
        assert_eq!(lab.network.next_event(), None, "seed {seed}: {:?}", lab.network.open_connections());
        assert_eq!(lab.network.connections(), 0, "seed {seed}: {:?}", lab.network.open_connections());
    }
}

#[test]
fn what_was_cut_off_arrives_after_healing() {
    // The last one's first SYN-ACK that arrives is sent just before the listener would have given up.
    for seed in (0..SEEDS).chain([425]) {
        let mut storm = Storm::new(seed);
        for _ in 0..4 {
            for _ in 0..storm.random.below(3) {
                storm.dial();
            }
            let fault = storm.lasting();
            storm.lab.network.inject(fault);
            let quiet = storm.random.duration(Duration::ZERO, 3 * SECOND);
            storm.pass(quiet);
            if storm.random.chance(0.5) {
                storm.lab.network.inject(Fault::Partition { a: A, b: B });
                storm.cut(true);
                let time = storm.random.duration(Duration::ZERO, 10 * SECOND);
                storm.pass(time);
                storm.cut(false);
            }
            storm.lab.network.heal();
        }
        storm.lab.network.set_default_link(LinkOptions { tear: 0.3, ..LinkOptions::exact(MS) });
        storm.pass(300 * SECOND);
        assert_eq!(storm.failed, 0, "seed {seed}");
        for link in &storm.links {
            assert!(link.server.is_some(), "seed {seed}: a dial has not ended");
            let left = link.flows.iter().map(|flow| (flow.bytes.len(), flow.written, flow.got.len()));
            assert!(
                link.flows.iter().all(Flow::is_complete),
                "seed {seed}: {:?} {:?}",
                left.collect::<Vec<_>>(),
                storm.lab.network.open_connections()
            );
        }
        // Open connections that have nothing to say say nothing.
        assert_eq!(storm.lab.network.next_event(), None, "seed {seed}");
        storm.links.iter().for_each(|link| link.client.transport.shutdown());
        storm.pass(10 * SECOND);
        assert!(storm.links.iter().all(|link| link.flows[0].has_ended), "seed {seed}: an end is lost");
        storm.check_rest();
    }
}

#[test]
fn what_fails_is_told_and_leaves_nothing() {
    for seed in 0..SEEDS {
        let mut storm = Storm::new(seed);
        for _ in 0..8 {
            storm.dial();
            let quiet = storm.random.duration(Duration::ZERO, 2 * SECOND);
            storm.pass(quiet);
            match storm.random.below(6) {
                0 => storm.lab.network.inject(Fault::ResetConnections { a: A, b: B }),
                1 => storm.lab.network.inject(Fault::HalfOpen { a: A, b: B }),
                2 => storm.lab.network.inject(Fault::HalfOpen { a: B, b: A }),
                3 => {
                    storm.lab.network.crash(B);
                    let off = storm.random.duration(Duration::ZERO, 200 * SECOND);
                    storm.pass(off);
                    storm.lab.network.restart(B);
                    storm.listener = storm.lab.listen();
                }
                4 => {
                    let fault = storm.lasting();
                    storm.lab.network.inject(fault);
                    let time = storm.random.duration(Duration::ZERO, 1500 * SECOND);
                    storm.pass(time);
                    storm.lab.network.heal();
                }
                _ => {
                    let forgotten = storm.links.pop();
                    drop(forgotten);
                }
            }
        }
        // Every dial has an end by then, and whoever has something to say knows whether it was heard.
        storm.pass(1000 * SECOND);
        for link in &storm.links {
            assert!(
                !matches!(link.client.transport.is_connected(), Ok(false)),
                "seed {seed}: a dial has not ended"
            );
        }
        storm.check_rest();
    }
}
