//! The formats of gperftools, with addresses and the process's mappings in place of names.
//!
//! A caller's address there is where the call returns to, one more than ours; the innermost one is as it is.

use std::fmt::Write;

use crate::mappings;
use crate::profile::{Kind, Profile, Sample};

pub(super) fn write(profile: &Profile) -> Option<Vec<u8>> {
    if profile.is_difference() {
        return None;
    }
    match profile.kind() {
        Kind::Cpu => Some(cpu(profile)),
        Kind::Contention => Some(contention(profile)),
        Kind::Heap => Some(heap(profile, "heapprofile")),
        Kind::Growth => Some(heap(profile, "growthz")),
        Kind::OffCpu => None,
    }
}

fn addresses(sample: &Sample) -> impl Iterator<Item = usize> {
    sample.frames.iter().enumerate().map(|(depth, frame)| frame.wrapping_add(usize::from(depth > 0)))
}

/// Words of the machine: a header with the period in microseconds, a number, a depth and addresses for each stack, a
/// trailer; then the mappings as text.
fn cpu(profile: &Profile) -> Vec<u8> {
    let mut words = vec![0, 3, 0, (profile.period() / 1000) as usize, 0];
    for sample in profile.samples().iter().filter(|sample| !sample.frames.is_empty()) {
        words.extend([sample.values[0] as usize, sample.frames.len()]);
        words.extend(addresses(sample));
    }
    words.extend([0, 1, 0]);
    let mut bytes: Vec<u8> = words.into_iter().flat_map(usize::to_ne_bytes).collect();
    bytes.extend_from_slice(mappings::text().as_bytes());
    bytes
}

// Writing to a string does not fail, here and below.

fn contention(profile: &Profile) -> Vec<u8> {
    let mut text = String::from("--- contention\ncycles/second=1000000000\n");
    for sample in profile.samples() {
        let _ = write!(text, "{} {} @", sample.values[1], sample.values[0]);
        write_addresses(&mut text, sample);
    }
    text.push('\n');
    text.push_str(&mappings::text());
    text.into_bytes()
}

fn heap(profile: &Profile, kind: &str) -> Vec<u8> {
    let [objects, bytes] = profile.totals();
    let mut text = format!("heap profile: {objects}: {bytes} [{objects}: {bytes}] @ {kind}\n");
    for sample in profile.samples() {
        let [objects, bytes] = sample.values;
        let _ = write!(text, "{objects}: {bytes} [{objects}: {bytes}] @");
        write_addresses(&mut text, sample);
    }
    text.push_str("\nMAPPED_LIBRARIES:\n");
    text.push_str(&mappings::text());
    text.into_bytes()
}

fn write_addresses(text: &mut String, sample: &Sample) {
    for address in addresses(sample) {
        let _ = write!(text, " {address:#x}");
    }
    text.push('\n');
}
