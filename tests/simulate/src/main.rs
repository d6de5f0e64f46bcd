//! Runs seeds of the simulated cluster.

fn main() {}
