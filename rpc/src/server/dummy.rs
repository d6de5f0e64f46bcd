//! The server of a process that only calls (`spec/builtin-services.md` §17): debug pages and nothing else.
//!
//! Owns that there is one in a process at most, and looks for the file that asks for one. It ends with the process.

use std::fs::{self, File};
use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Server;
use crate::error::{EINVAL, RpcError};
use crate::process::SERVERS;
use crate::registry::DefaultRegistry;
use crate::transport::Endpoint;

/// A file of this name in the working directory, with the number of a port in it, starts the server.
pub const DUMMY_SERVER_FILE: &str = "dummy_server.port";
/// How often it is looked for.
pub const DUMMY_SERVER_LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Bytes of it that are read.
const FILE_BYTES_MAX: u64 = 16;

/// Somebody is starting it or has; nobody else does then.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Where it listens.
static ADDRESS: OnceLock<Endpoint> = OnceLock::new();

/// Starts a server with the debug pages alone, at `port` of 127.0.0.1 (0: any that is free), for a process that has no
/// other server. It speaks the protocols of `P` and runs until the process ends. Returns where it listens. Who wants more
/// of it, other machines as readers for one, starts a [`Server`] without services.
///
/// A process that has a channel and no server looks for the file [`DUMMY_SERVER_FILE`] in its working directory each
/// [`DUMMY_SERVER_LOOK_PERIOD`], and starts this server with the port in it: so pages can be had of a process that
/// runs already. A [simulation](bthread::simulation) does not.
///
/// *Blocking*: never for long.
///
/// # Errors
/// [`EINVAL`] if it was started before; the system's error if it cannot listen, after which it may be tried again.
pub fn start_dummy_server_at<P: DefaultRegistry>(port: u16) -> Result<Endpoint, RpcError> {
    // SeqCst: nothing is published through it, and nobody is in a hurry.
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(RpcError::new(EINVAL, "The process has a dummy server already"));
    }
    let server = Server::<P>::builder().version(version()).start(format_args!("127.0.0.1:{port}"));
    match server {
        Ok(server) => {
            let address = server.local_addr().clone();
            std::mem::forget(server); // it ends with the process
            Ok(ADDRESS.get_or_init(|| address).clone())
        }
        Err(error) => {
            TAKEN.store(false, Ordering::SeqCst); // as above
            Err(error)
        }
    }
}

/// Where the dummy server listens, if it runs.
pub fn dummy_server_address() -> Option<&'static Endpoint> {
    ADDRESS.get()
}

fn version() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
    format!("DummyServerOf({})", name.display())
}

/// Looks for the file from now on. Called where a channel is made.
pub(crate) fn look_for_file<P: DefaultRegistry>() {
    static LOOKS: OnceLock<()> = OnceLock::new();
    if bthread::simulation::is_simulated() {
        return; // what the working directory has in it is nothing of the simulation's
    }
    LOOKS.get_or_init(|| {
        bthread::spawn(|| {
            // As long as nobody has started one.
            while !TAKEN.load(Ordering::SeqCst) {
                bthread::sleep(DUMMY_SERVER_LOOK_PERIOD);
                let has_server = SERVERS.load(Ordering::Relaxed) > 0; // a hint
                if !has_server && let Some(port) = bthread::blocking(read_file) {
                    let _ = start_dummy_server_at::<P>(port); // tried again until it works
                }
            }
        });
    });
}

/// The port that the file asks for.
fn read_file() -> Option<u16> {
    // Not a pipe, whose reader would wait.
    fs::metadata(DUMMY_SERVER_FILE).ok().filter(fs::Metadata::is_file)?;
    let mut text = String::new();
    File::open(DUMMY_SERVER_FILE).ok()?.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
