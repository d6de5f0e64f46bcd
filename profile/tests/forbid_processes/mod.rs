//! Runs a part of a test in a process that the kernel kills if it tries to start another one. The tests of the whole
//! (`tests/pages`) use this file, too.
//!
//! Holds unsafe: the system calls that set the filter.

#![allow(unsafe_code)]

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, exit};

const WHICH: &str = "BOBBIN_TEST_IN_CHILD";

/// Runs `work` in a process of its own, without others. `test` is the path of the test that calls this and does nothing
/// else: that process runs it again.
pub(crate) fn run_without_processes(test: &str, work: fn()) {
    if std::env::var(WHICH).is_ok() {
        forbid_processes();
        work();
        println!("all was done");
        // And the filter was there: this ends the process.
        let _ = Command::new("/bin/true").status();
        exit(0);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(WHICH, "1")
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("all was done"), "{}: {text}\n{errors}", output.status);
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{text}\n{errors}");
}

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
