//! The seeds that find the planted bugs: where to begin, as the search from the first seed on finds them too.

/// Each bug's name, and the first seed that shows it.
pub const FOUND: &[(&str, u64)] = &[
    ("lost-wake-up", 8),
    ("eaten-wake-up", 1),
    ("early-timer", 0),
    ("double-completion", 0),
    ("retry-after-write", 12),
    ("leaked-pending-call", 0),
    ("reused-call-id", 17),
    ("short-write", 0),
    ("short-read", 14),
    ("lost-last-bytes", 16),
    ("lost-writable", 422),
    ("never-revived", 70),
    ("frame-after-close", 1),
    ("window-not-counted", 40),
    ("lost-feedback", 14),
    ("hasty-stop", 63),
    ("leaked-admission", 7),
    ("deadline-not-shrunk", 2),
    ("unheard-cancel", 2),
];
