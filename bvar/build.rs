//! Tells the crate which compiler builds it, for the variable `rustc_version`.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // A compiler that does not tell its version is no reason not to build: the variable is empty then.
    let version = Command::new(compiler).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=BVAR_RUSTC_VERSION={}", version.trim());
}
