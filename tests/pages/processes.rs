//! All pages in a process that the kernel kills if it tries to start another one (the class of CVE-2025-60021).
//!
//! Holds unsafe: the system calls that set the filter.

#![allow(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};

use bobbin::PageOptions;
use bobbin_tests::HttpPeer;

use super::{builder, paths};

const WHICH: &str = "BOBBIN_TEST_IN_CHILD";

/// From here on the kernel kills this process when any thread asks for a new process or program.
fn forbid_processes() {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let jump = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |offset: usize| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset as u32);
    let equal = |value: i64, jt, jf| jump(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value as u32, jt, jf);
    let give = |value: u32| statement(libc::BPF_RET | libc::BPF_K, value);
    let number = std::mem::offset_of!(libc::seccomp_data, nr);
    let first_argument = std::mem::offset_of!(libc::seccomp_data, args);

    let mut forbidden = vec![libc::SYS_execve, libc::SYS_execveat];
    #[cfg(target_arch = "x86_64")]
    forbidden.extend([libc::SYS_fork, libc::SYS_vfork]);
    let mut program = vec![load(number)];
    for call in forbidden {
        program.extend([equal(call, 0, 1), give(libc::SECCOMP_RET_KILL_PROCESS)]);
    }
    // A filter cannot see the flags of clone3; told that there is none, callers take clone.
    program.extend([equal(libc::SYS_clone3, 0, 1), give(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32)]);
    program.extend([
        equal(libc::SYS_clone, 0, 3),
        load(first_argument),
        jump(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, libc::CLONE_THREAD as u32, 1, 0),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        give(libc::SECCOMP_RET_ALLOW),
    ]);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter lives through the calls; both take plain numbers besides.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let result = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const filter,
        );
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

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
    if std::env::var(WHICH).is_ok() {
        forbid_processes();
        ask_for_everything();
        println!("all was done");
        // And the filter was there: this ends the process.
        let _ = Command::new("/bin/true").status();
        exit(0);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["processes::no_page_starts_a_process", "--exact", "--nocapture"])
        .env(WHICH, "1")
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("all was done"), "{}: {text}\n{errors}", output.status);
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{text}\n{errors}");
}
