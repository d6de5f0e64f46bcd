//! A service of three nodes with a bug that no ordinary test finds, and the simulated test that does: a front node keeps
//! two replicas of an account, and asks a replica again when it does not answer in time.
//!
//! ```text
//! cargo run --release --example simulated_cluster               # finds the bug
//! cargo run --release --example simulated_cluster -- --fixed    # the same seeds, and nothing is wrong
//! cargo run --release --example simulated_cluster -- --seed 17  # one seed, with all that happens in it
//! ```
//!
//! The service comes first, as it would run on real machines. Below it is the scenario: the cluster, what is asked of it,
//! what goes wrong meanwhile, and what must be true in the end. Last come the ways to run it: as a program, and as tests.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bobbin::error::ERPCTIMEDOUT;
use bobbin::{CallOptions, Channel, RpcError, Server, ServerCall, bthread};
use bobbin_examples::account::{AccountServer, AccountService, AccountStub, AddRequest, AddResponse};
use clap::Parser;
use sim::{Explorer, Fault, Node, Seeds, World};

// ---- The service ----

/// Keeps the account; there are two of these.
struct Replica {
    account: Mutex<Account>,
    /// Whether additions are known again when they come again: the bug's cure.
    remembers: bool,
}

#[derive(Default)]
struct Account {
    balance: i64,
    /// How often each addition was made, by its id.
    additions: HashMap<u64, u32>,
}

impl AccountService for Replica {
    fn add(&self, _: &mut ServerCall, request: AddRequest) -> Result<AddResponse, RpcError> {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let times = account.additions.entry(request.id).or_default();
        if *times == 0 || !self.remembers {
            *times += 1;
            account.balance += request.amount;
        }
        Ok(AddResponse { balance: account.balance })
    }
}

/// Adds on both replicas before it answers.
struct Front {
    replicas: Vec<AccountStub>,
}

/// How long the front waits for a replica before it asks again.
const REPLICA_TIMEOUT: Duration = Duration::from_millis(50);
/// How often it asks.
const ATTEMPTS: usize = 3;

impl AccountService for Front {
    fn add(&self, _: &mut ServerCall, request: AddRequest) -> Result<AddResponse, RpcError> {
        let mut response = AddResponse::default();
        for replica in &self.replicas {
            response = add_on(replica, &request)?;
        }
        Ok(response)
    }
}

/// No answer in time: was the question lost, or the answer? Asking again is right for one and wrong for the other.
fn add_on(replica: &AccountStub, request: &AddRequest) -> Result<AddResponse, RpcError> {
    for _ in 1..ATTEMPTS {
        let options = CallOptions::default().timeout(REPLICA_TIMEOUT);
        match replica.add_with(options, request) {
            Err(error) if error.code() == ERPCTIMEDOUT => {}
            result => return result.map(|reply| reply.message),
        }
    }
    replica.add(request)
}

// ---- The scenario ----

const PORT: u16 = 8000;

/// An addition that a client asks for.
struct Addition {
    id: u64,
    at: Duration,
    amount: i64,
}

/// A time in which nothing gets through from one node to another.
struct Cut {
    from: usize,
    to: usize,
    at: Duration,
    lasts: Duration,
}

/// One run: sets up a cluster, uses it, disturbs it, and says what is wrong afterwards.
fn scenario(world: &World, remembers: bool) {
    // Nodes have names, addresses, clocks and workers of their own. What runs on them is the real thing.
    let replicas: Vec<Arc<Replica>> =
        (0..2).map(|_| Arc::new(Replica { account: Mutex::default(), remembers })).collect();
    let nodes = ["front", "replica-a", "replica-b"].map(|name| world.node(name));
    let mut servers = Vec::new();
    for (node, replica) in nodes[1..].iter().zip(&replicas) {
        servers.push(serve(node, replica.clone()));
    }
    let front = Front { replicas: nodes[1..].iter().map(|to| connect(&nodes[0], to)).collect() };
    servers.push(serve(&nodes[0], front));
    let client = world.node("client");
    let account = Arc::new(connect(&client, &nodes[0]));

    // Plans are lists that the seed decides about. When a run fails, elements are left out as long as it still does.
    let additions = world.plan("additions", 10, |random| Addition {
        id: random.below(1 << 32),
        at: random.duration(Duration::ZERO, Duration::from_secs(60)),
        amount: random.between(1, 100) as i64,
    });
    let cuts = world.plan("cuts", 2, |random| {
        let (from, to) = *random.pick(&[(0, 1), (1, 0), (0, 2), (2, 0)]);
        Cut {
            from,
            to,
            at: random.duration(Duration::ZERO, Duration::from_secs(60)),
            lasts: random.duration(Duration::from_millis(10), Duration::from_millis(50)),
        }
    });

    // All that waits is a bthread: here the scenario's own, and on the client one for each addition. It is over in no time:
    // while all wait, the clock jumps to whatever comes next.
    for cut in cuts {
        let (world, fault) =
            (world.clone(), Fault::OneWay { from: nodes[cut.from].ip(), to: nodes[cut.to].ip() });
        bthread::spawn(move || {
            bthread::sleep(cut.at);
            world.network().inject(fault.clone());
            bthread::sleep(cut.lasts);
            world.network().lift(&fault);
        });
    }
    let calls: Vec<_> = additions
        .into_iter()
        .map(|addition| {
            let (world, account) = (world.clone(), account.clone());
            client.spawn(move || {
                bthread::sleep(addition.at);
                let Addition { id, amount, .. } = addition;
                let result = account.add(&AddRequest { id, amount });
                world.note(format_args!("addition {id} of {amount} ends with {result:?}"));
                (id, result.is_ok())
            })
        })
        .collect();

    // What must be true: what was acknowledged was added once, everywhere; and nothing more than once, ever.
    for call in calls {
        let (id, acknowledged) = call.join().expect("a client does not panic");
        for (replica, node) in replicas.iter().zip(&nodes[1..]) {
            let account = replica.account.lock().unwrap_or_else(PoisonError::into_inner);
            let times = account.additions.get(&id).copied().unwrap_or_default();
            if times > 1 || (acknowledged && times == 0) {
                world.violation(format_args!("an addition was made {times} times: {id} on {}", node.name()));
            }
        }
    }
}

/// Does something on a node: what a bthread of a node does, the node does.
fn on<T: Send + 'static>(node: &Node, what: impl FnOnce(&Node) -> T + Send + 'static) -> T {
    let here = node.clone();
    node.spawn(move || what(&here)).join().expect("setting up a cluster does not panic")
}

/// Starts a server, which stops when it is dropped.
fn serve(node: &Node, service: impl AccountService) -> Server {
    on(node, |node| {
        let listener = node.listen(PORT).expect("nothing else listens at this port");
        let server = Server::builder().add(AccountServer::new(service));
        server.start_on(listener).expect("a server needs no more than its listener")
    })
}

/// A client on one node for the service on another.
fn connect(from: &Node, to: &Node) -> AccountStub {
    let address = to.address(PORT);
    on(from, |from| {
        let channel = Channel::builder().connector(from.connector()).connect(address);
        AccountStub::new(&channel.expect("a node's address is one"))
    })
}

// ---- The program, and the tests ----

#[derive(Parser)]
#[command(about = "Looks for a seed with which an addition is not made exactly once")]
struct Options {
    /// Runs the service without its bug
    #[arg(long)]
    fixed: bool,
    /// Seeds to try: 1000, 40-60
    #[arg(long, default_value = "1000")]
    seeds: Seeds,
    /// Runs this seed alone, with its whole trace
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Prints the whole trace of a failing run, rather than its beginning and its end
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let explorer = Explorer::new().seeds(options.seeds).whole_trace(options.trace);
    let explorer = match options.seed {
        Some(seed) => explorer.only(seed),
        None => explorer,
    };
    explorer.main(move |world| scenario(world, options.fixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a test of one's own service looks like. It panics with all that is known if a seed fails.
    #[test]
    fn additions_are_made_once() {
        sim::explore(100, |world| scenario(world, true));
    }

    #[test]
    fn without_memory_a_seed_finds_one_made_twice() {
        let report = Explorer::new().seeds(1000).find(|world| scenario(world, false)).unwrap();
        let examined = report.failures()[0].examined().unwrap();
        assert!(examined.violations()[0].starts_with("an addition was made "), "{report}");
        assert!(examined.elements().0 <= 3, "{report}");
    }
}
