//! What the server keeps of calls with a key, until it is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bobbin_tests::StreamEnd;
use bobbin_tests::features::ReportResponse;

#[derive(Debug, Default)]
struct OfKey {
    calls: i32,
    canceled: i32,
    streams: Vec<Arc<StreamEnd>>,
}

/// By key.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<String, OfKey>>);

impl Kept {
    fn of<R>(&self, key: &str, f: impl FnOnce(&mut OfKey) -> R) -> R {
        f(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.to_owned()).or_default())
    }

    /// Counts a call. Returns how many there were, with this one.
    pub(crate) fn call(&self, key: &str) -> i32 {
        self.of(key, |of| {
            of.calls += 1;
            of.calls
        })
    }

    pub(crate) fn canceled(&self, key: &str) {
        self.of(key, |of| of.canceled += 1);
    }

    pub(crate) fn stream(&self, key: &str, end: Arc<StreamEnd>) {
        self.of(key, |of| of.streams.push(end));
    }

    pub(crate) fn report(&self, key: &str) -> ReportResponse {
        self.of(key, |of| ReportResponse {
            calls: Some(of.calls),
            canceled: Some(of.canceled),
            streams: of.streams.iter().map(|stream| stream.report()).collect(),
        })
    }
}
