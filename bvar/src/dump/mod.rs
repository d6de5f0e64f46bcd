//! All exposed variables as text: to a function, and to files again and again.

mod flags;

pub(crate) use flags::FLAGS;
