//! All pages in a process that the kernel kills if it tries to start another one (the class of CVE-2025-60021).

#[path = "../../profile/tests/forbid_processes/mod.rs"]
mod forbid_processes;

use bobbin::PageOptions;
use bobbin_tests::HttpPeer;

use super::{builder, paths};
use forbid_processes::run_without_processes;

/// What a command could be slipped into.
const EVIL: [&str; 4] = ["%3Btouch%20x", "%60id%60", "%24(id)", "1%20%7C%20sh"];

fn ask_for_everything() {
    let pages = PageOptions::new().threads().dir("/proc/self");
    let server = builder().pages(pages).start("127.0.0.1:0").unwrap();
    let mut peer = HttpPeer::connect(&server.local_addr().to_string());
    let mut targets = paths(&mut peer);
    targets.extend(["cpu", "contention", "offcpu", "heap", "growth"].map(|kind| format!("/hotspots/{kind}")));
    let kinds = ["profile", "contention", "heap", "growth", "symbol", "cmdline"];
    targets.extend(kinds.map(|kind| format!("/pprof/{kind}?seconds=1")));
    targets.extend(
        ["/debug/pprof/profile?seconds=1", "/rpcz/enable", "/rpcz/stats", "/bthreads/all?st=1"]
            .map(str::to_owned),
    );
    for target in &targets {
        assert_ne!(peer.get(target).status, 0, "{target}");
        assert_ne!(peer.browse(target).status, 0, "{target}");
        let bare = target.split('?').next().unwrap();
        if bare.starts_with("/pprof") || bare.starts_with("/debug") {
            continue; // these have been run, and last
        }
        for evil in EVIL {
            let names = ["seconds", "view", "base", "display_type", "show_ccount", "time", "setvalue", "st"];
            let query: Vec<String> = names.iter().map(|name| format!("{name}={evil}")).collect();
            assert_ne!(peer.browse(&format!("{bare}?{}", query.join("&"))).status, 0, "{target}");
            assert_ne!(peer.browse(&format!("{bare}/{evil}")).status, 0, "{target}");
        }
    }
}

#[test]
fn no_page_starts_a_process() {
    run_without_processes("processes::no_page_starts_a_process", ask_for_everything);
}
