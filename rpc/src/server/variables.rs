//! A server as variables, under brpc's names (`spec/builtin-services.md` §15.5): `rpc_server_<port>_…`, or with the
//! name that the server was given in place of the port; those of a method have its full name behind that.
//!
//! A name that is taken stays with its owner: of two servers on one port the first is seen, and both run.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bvar::{ExposedLatencyRecorder, PassiveStatus, PerSecond, Variable};

use super::method::Method;
use super::rejections::Rejection;
use super::state::ServerState;
use crate::builtin;
use crate::process::SERVERS;
use crate::span::date_and_time;

/// The variables of a server; hidden when this is dropped.
pub(super) struct Variables {
    prefix: String,
    server: Weak<ServerState>,
    shown: Vec<Box<dyn Any + Send + Sync>>,
}

impl Variables {
    pub(super) fn expose(server: &Arc<ServerState>) -> Self {
        SERVERS.fetch_add(1, Ordering::Relaxed); // a statistic
        bthread::expose_variables(); // again: by now a runtime runs, which has its own
        let mut variables =
            Variables { prefix: server.variables(), server: Arc::downgrade(server), shown: Vec::new() };
        variables.add_server(server);
        for (index, method) in server.methods.methods().iter().enumerate() {
            variables.prefix = server.variables_of(method);
            variables.add_method(index, method);
        }
        variables
    }

    fn add_server(&mut self, server: &Arc<ServerState>) {
        let started = server.started;
        let start_time = date_and_time(started);
        self.share("error", server.non_service_errors.clone());
        self.add("eps", PerSecond::new(server.non_service_errors.clone(), 0));
        for why in Rejection::ALL {
            self.share(why.name(), server.rejections.adder(why).clone());
        }
        self.ask("congested", |server| usize::from(server.congestion.is_congested()));
        self.ask("concurrency", |server| server.methods.concurrency());
        self.ask("connection_count", |server| server.connection_count());
        if server.session_data.is_some() {
            let server = self.server.clone();
            let counts = move || {
                let counts = server.upgrade().and_then(|server| Some(server.session_data.as_ref()?.counts()));
                let (in_use, free) = counts.unwrap_or_default();
                format!("[{in_use},{free}]")
            };
            self.add("session_local_data_count", PassiveStatus::new(counts));
        }
        self.ask("service_count", |server| server.methods.service_count());
        self.ask(
            "builtin_service_count",
            |server| if server.pages.is_off() { 0 } else { builtin::ALL.len() },
        );
        self.add(
            "uptime",
            PassiveStatus::new(move || {
                let up = bthread::clock::wall().duration_since(started).unwrap_or_default();
                up.as_micros() as f64 / 1e6
            }),
        );
        self.add("start_time", PassiveStatus::new(move || start_time.clone()));
    }

    fn add_method(&mut self, index: usize, method: &Method) {
        self.share("error", method.status.errors.clone());
        self.add("eps", PerSecond::new(method.status.errors.clone(), 0));
        self.ask("concurrency", move |server| server.methods.methods()[index].status.concurrency());
        if method.max_concurrency().is_some() {
            self.ask("max_concurrency", move |server| {
                server.methods.methods()[index].max_concurrency().unwrap_or_default()
            });
        }
        if method.would_have_refused().is_some() {
            self.ask("would_have_refused", move |server| {
                let refused = server.methods.methods()[index].would_have_refused();
                refused.and_then(|refused| usize::try_from(refused).ok()).unwrap_or_default()
            });
        }
        let latency = ExposedLatencyRecorder::new(&self.prefix, method.status.latency.clone());
        self.shown.extend(latency.ok().map(|latency| Box::new(latency) as _)); // taken: see the head of this file
    }

    /// A number of the server as long as it is there.
    fn ask(&mut self, name: &str, ask: impl Fn(&ServerState) -> usize + Send + Sync + 'static) {
        let server = self.server.clone();
        self.add(
            name,
            PassiveStatus::new(move || {
                let number = server.upgrade().map_or(0, |server| ask(&server));
                i64::try_from(number).unwrap_or(i64::MAX)
            }),
        );
    }

    fn add(&mut self, name: &str, variable: impl Variable + 'static) {
        self.share(name, Arc::new(variable));
    }

    fn share<V: Variable + 'static>(&mut self, name: &str, variable: Arc<V>) {
        let shown = bvar::expose_as(&self.prefix, name, variable);
        self.shown.extend(shown.ok().map(|shown| Box::new(shown) as _)); // taken: see the head of this file
    }
}

impl Drop for Variables {
    fn drop(&mut self) {
        SERVERS.fetch_sub(1, Ordering::Relaxed); // as in `expose`
    }
}
