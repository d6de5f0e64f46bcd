//! The seeds that find the planted bugs: where to begin, as the search from the first seed on finds them too.

/// Each bug's name, and the first seed that shows it.
pub const FOUND: &[(&str, u64)] = &[
    ("lost-wake-up", 8),
];
