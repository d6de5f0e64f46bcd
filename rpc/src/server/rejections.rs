//! Why requests were not run: a count for each reason, which are variables of the server.

use std::sync::Arc;

use bvar::Adder;

/// Why a request was answered without being run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The server is stopping, or not ready yet.
    Stopping,
    /// The server's limit of concurrency.
    ServerLimit,
    /// The limiter of its method.
    MethodLimit,
    /// Too much is not written to its connection.
    Overcrowded,
    /// It has waited for long while requests come faster than they are run.
    Congestion,
    /// Its caller had stopped waiting, or would have before the answer.
    Expired,
}

impl Rejection {
    pub(super) const ALL: [Self; 6] = [
        Self::Stopping,
        Self::ServerLimit,
        Self::MethodLimit,
        Self::Overcrowded,
        Self::Congestion,
        Self::Expired,
    ];

    /// What its variable is called behind the name of the server.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopping => "rejected_stopping",
            Self::ServerLimit => "rejected_server_limit",
            Self::MethodLimit => "rejected_method_limit",
            Self::Overcrowded => "rejected_overcrowded",
            Self::Congestion => "rejected_congestion",
            Self::Expired => "rejected_expired",
        }
    }
}

/// The counts of a server.
pub(crate) struct Rejections([Arc<Adder<i64>>; Rejection::ALL.len()]);

impl Rejections {
    pub(super) fn new() -> Self {
        Rejections(std::array::from_fn(|_| Arc::new(Adder::new())))
    }

    pub(super) fn count(&self, why: Rejection) {
        self.0[why as usize].add(1);
    }

    pub(super) fn adder(&self, why: Rejection) -> &Arc<Adder<i64>> {
        &self.0[why as usize]
    }
}
