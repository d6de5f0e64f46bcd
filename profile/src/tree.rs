//! The calls of a profile as a tree from the outermost function down: what a flame graph draws.
//!
//! A node has the name of a function, the sum of all samples under it, and of those that end in it. Branches too small
//! to be seen are put together, so a tree has a bounded number of nodes whatever the profile.

use std::collections::HashMap;
use std::sync::Arc;

use crate::profile::{Profile, Sample, Value};
use crate::symbol::Symbols;

/// The part of the whole that a branch must have to be shown, as a divisor. So no more than this many branches stand
/// side by side at any depth.
const BRANCHES_MAX: u64 = 4000;
/// The branch for those too small.
const SMALL: &str = "(smaller branches)";

/// One function in one chain of callers.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: Arc<str>,
    /// Of all samples in this branch.
    pub(crate) value: i64,
    /// Of the samples that end here.
    pub(crate) own: i64,
    /// The sum of the samples' absolute values: what a branch weighs in a difference.
    weight: u64,
    /// By falling weight.
    pub(crate) children: Vec<Node>,
    places: HashMap<Arc<str>, usize>,
}

impl Node {
    /// The whole profile below a root called `all`.
    pub(crate) fn root(profile: &Profile, symbols: &Symbols, value: Value) -> Node {
        let mut root = Node { name: "all".into(), ..Node::default() };
        for sample in profile.samples() {
            root.add(&chain(sample, symbols), value.of(sample));
        }
        let least = root.weight / BRANCHES_MAX;
        root.tidy(least);
        root
    }

    fn add(&mut self, chain: &[Arc<str>], value: i64) {
        let mut node = self;
        node.count(value);
        for name in chain {
            let place = match node.places.get(name) {
                Some(place) => *place,
                None => {
                    node.children.push(Node { name: name.clone(), ..Node::default() });
                    node.places.insert(name.clone(), node.children.len() - 1);
                    node.children.len() - 1
                }
            };
            node = &mut node.children[place];
            node.count(value);
        }
        node.own = node.own.saturating_add(value);
    }

    fn count(&mut self, value: i64) {
        self.value = self.value.saturating_add(value);
        self.weight = self.weight.saturating_add(value.unsigned_abs());
    }

    /// Sorts, and puts children of less weight than `least` together. As deep as the tree: a stack has at most a few
    /// hundred functions.
    fn tidy(&mut self, least: u64) {
        self.places = HashMap::new();
        let mut small = Node { name: SMALL.into(), ..Node::default() };
        self.children.retain(|child| {
            let is_small = child.weight < least;
            if is_small {
                small.value = small.value.saturating_add(child.value);
                small.weight = small.weight.saturating_add(child.weight);
            }
            !is_small
        });
        self.children.iter_mut().for_each(|child| child.tidy(least));
        if small.weight > 0 {
            small.own = small.value;
            self.children.push(small);
        }
        // Equal ones by name, so that the same profile gives the same text.
        self.children
            .sort_by(|one, other| other.weight.cmp(&one.weight).then_with(|| one.name.cmp(&other.name)));
    }
}

/// The names of a sample's functions, the outermost first; the label, if any, stands at the end in brackets.
pub(crate) fn chain(sample: &Sample, symbols: &Symbols) -> Vec<Arc<str>> {
    let functions = sample.frames.iter().rev().flat_map(|address| symbols.at(*address).iter().rev());
    let mut chain: Vec<Arc<str>> = functions.map(|function| function.name.clone()).collect();
    if let Some(label) = sample.label {
        chain.push(format!("[{label}]").into());
    }
    chain
}

impl Value {
    pub(crate) fn of(self, sample: &Sample) -> i64 {
        sample.values[self.index()]
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Value::Count => 0,
            Value::Amount => 1,
        }
    }
}
