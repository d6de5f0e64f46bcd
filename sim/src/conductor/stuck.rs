//! What a deadlock is reported with: who waits, and for what.

use bthread::{BthreadInfo, BthreadState, WaitsFor};

use crate::clock;
use crate::world::{WORLD_NAME, World};

/// Bthreads that a report lists.
const LISTED_MAX: usize = 40;

/// The violation.
pub(super) fn report(world: &World) -> String {
    let mut text = format!(
        "deadlock at {:?}: the scenario has not returned, nobody can run, and nothing is on its way",
        clock::world()
    );
    for line in all(world) {
        text += "; ";
        text += &line;
    }
    text
}

/// What each bthread does. Without addresses, which differ from run to run.
pub(super) fn all(world: &World) -> Vec<String> {
    let all = bthread::bthreads();
    let line = |info: &BthreadInfo| format!("{} on {} {}", name(info), place(world, info), state(info.state));
    let mut lines: Vec<String> = all.iter().take(LISTED_MAX).map(line).collect();
    if let Some(more @ 1..) = all.len().checked_sub(LISTED_MAX) {
        lines.push(format!("{more} more"));
    }
    lines
}

fn name(info: &BthreadInfo) -> String {
    match &info.name {
        Some(name) => format!("'{name}'"),
        None => format!("bthread {}", info.id),
    }
}

fn place(world: &World, info: &BthreadInfo) -> String {
    let Some(home) = info.home else { return "no node yet".to_owned() };
    world.with_nodes(|nodes| {
        nodes.iter().find_map(|node| Some((node, node.incarnation_of(home.tag)?))).map_or_else(
            || WORLD_NAME.to_owned(),
            |(node, incarnation)| {
                let condition = match (incarnation == node.incarnation() && node.is_up, node.is_paused) {
                    (false, _) => " (dead)",
                    (true, true) => " (paused)",
                    (true, false) => "",
                };
                format!("{}{condition}", node.name())
            },
        )
    })
}

fn state(state: BthreadState) -> String {
    match state {
        BthreadState::Waiting(WaitsFor::Butex(_)) => "waits for a butex".to_owned(),
        BthreadState::Waiting(what) => format!("waits for {what}"),
        other => format!("is {other}"),
    }
}
