//! Windows, driven by hand.
