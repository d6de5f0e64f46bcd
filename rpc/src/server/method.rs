//! The methods of a server: how a name leads to one, and what is known of each while it runs.
//!
//! Built once when the server starts and never changed, so that looking up takes no lock.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bvar::{Adder, LatencyRecorder, LatencySnapshot, LatencyUnit};

use crate::error::{EINVAL, ErrorCode, RpcError};
use crate::limit::ConcurrencyLimiter;
use crate::service::{MethodDescriptor, Service, ServiceDescriptor};

/// Names a method of one server. Protocols get it from [`Routes`] and hand it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodId(usize);

/// Why there is no method of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The server has no service of this name.
    Service,
    /// The service, if there is one, has no method of this name.
    Method,
}

/// All methods of a server.
pub(crate) struct MethodTable {
    methods: Vec<Method>,
    /// By the full name of the service; its methods by their bare names.
    services: HashMap<&'static str, HashMap<&'static str, usize>>,
    /// From a service's name without its package to its full name.
    short_names: HashMap<&'static str, &'static str>,
}

/// One method.
pub(crate) struct Method {
    pub(crate) service: Arc<dyn Service>,
    /// Its index in the service's descriptor.
    pub(crate) index: usize,
    pub(crate) descriptor: &'static MethodDescriptor,
    pub(crate) status: MethodStatus,
    pub(crate) limit: Option<Limit>,
    service_name: &'static str,
}

impl MethodTable {
    /// The methods of these services.
    ///
    /// # Errors
    /// Two services with one full name or one short name; a limiter for a method that none has.
    pub(crate) fn new(
        services: Vec<Arc<dyn Service>>,
        limiters: HashMap<String, Box<dyn ConcurrencyLimiter>>,
    ) -> Result<Self, RpcError> {
        let mut table =
            MethodTable { methods: Vec::new(), services: HashMap::new(), short_names: HashMap::new() };
        services.into_iter().try_for_each(|service| table.add(service))?;
        for (name, limiter) in limiters {
            let method = table.methods.iter_mut().find(|method| method.descriptor.full_name == name);
            let method =
                method.ok_or_else(|| invalid(format!("Fail to limit method={name}: there is none")))?;
            method.limit = Some(Limit { limiter, running: AtomicUsize::new(0) });
        }
        Ok(table)
    }

    fn add(&mut self, service: Arc<dyn Service>) -> Result<(), RpcError> {
        let ServiceDescriptor { full_name, methods, .. } = service.descriptor();
        let mut by_name = HashMap::new();
        for (index, descriptor) in methods.iter().enumerate() {
            by_name.insert(descriptor.name, self.methods.len());
            self.methods.push(Method {
                service: service.clone(),
                index,
                descriptor,
                status: MethodStatus::new(),
                limit: None,
                service_name: full_name,
            });
        }
        if self.services.insert(full_name, by_name).is_some() {
            return Err(invalid(format!("service={full_name} was added twice")));
        }
        match self.short_names.entry(service.descriptor().short_name()) {
            Entry::Vacant(vacant) => drop(vacant.insert(full_name)),
            Entry::Occupied(taken) => {
                let other = taken.get();
                return Err(invalid(format!("service={full_name} has the short name of service={other}")));
            }
        }
        Ok(())
    }

    pub(crate) fn method(&self, id: MethodId) -> &Method {
        &self.methods[id.0]
    }

    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Calls running in all methods.
    pub(crate) fn concurrency(&self) -> usize {
        self.methods.iter().map(|method| method.status.concurrency()).sum()
    }

    fn find(&self, service: &[u8], method: &[u8]) -> Result<usize, NoRoute> {
        // Names that are not UTF-8 are nobody's; the empty one stands for them, as no service has it.
        let service = str::from_utf8(service).unwrap_or_default();
        let method = str::from_utf8(method).unwrap_or_default();
        let service = if service.contains('.') {
            service
        } else {
            self.short_names.get(service).copied().ok_or(NoRoute::Service)?
        };
        let methods = self.services.get(service).ok_or(NoRoute::Method)?;
        methods.get(method).copied().ok_or(NoRoute::Method)
    }
}

/// Finds methods by the names that come with requests; made for one connection, whose requests are often for the
/// same method.
pub struct Routes<'a> {
    table: &'a MethodTable,
    recent: &'a AtomicUsize,
}

impl<'a> Routes<'a> {
    /// `recent` starts at any number.
    pub(crate) fn new(table: &'a MethodTable, recent: &'a AtomicUsize) -> Self {
        Routes { table, recent }
    }

    /// The method with this bare name of a service, named with its package or, if it has no dot, without. Names are
    /// bytes as they came; those that are not UTF-8 belong to nobody.
    ///
    /// # Errors
    /// As brpc has it (`spec/protocols-baidu.md` §2.5): [`NoRoute::Service`] only for a name without a dot, as one
    /// with a dot is looked up together with the method.
    pub fn find(&self, service: &[u8], method: &[u8]) -> Result<MethodId, NoRoute> {
        // Relaxed: any value will do, the table does not change.
        let recent = self.recent.load(Ordering::Relaxed);
        if let Some(known) = self.table.methods.get(recent)
            && known.descriptor.name.as_bytes() == method
            && known.service_name.as_bytes() == service
        {
            return Ok(MethodId(recent));
        }
        let found = self.table.find(service, method)?;
        self.recent.store(found, Ordering::Relaxed); // see the load
        Ok(MethodId(found))
    }
}

/// A limiter and what it judges by: calls that are not answered yet. They are counted apart from those that run, since
/// a caller that has its answer must not find itself counted when it calls again.
pub(crate) struct Limit {
    limiter: Box<dyn ConcurrencyLimiter>,
    running: AtomicUsize,
}

impl Limit {
    /// Counts one more call if the limiter admits it; else says how many there would have been.
    pub(crate) fn enter(&self) -> Result<(), usize> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1; // a count of its own, as in `leave`
        if self.limiter.admits(running) {
            return Ok(());
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
        Err(running)
    }

    /// An admitted call is about to be answered.
    pub(crate) fn leave(&self, error: Option<ErrorCode>, latency: Duration) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.limiter.ended(error, latency);
    }
}

/// What is counted of one method.
pub(crate) struct MethodStatus {
    concurrency: AtomicUsize,
    errors: Adder<i64>,
    /// Of calls that succeeded.
    latency: LatencyRecorder,
}

impl MethodStatus {
    fn new() -> Self {
        MethodStatus {
            concurrency: AtomicUsize::new(0),
            errors: Adder::new(),
            latency: LatencyRecorder::new(LatencyUnit::Micros),
        }
    }

    /// Calls running.
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency.load(Ordering::SeqCst) // pairs with `enter` and `leave`
    }

    /// Counts one more call as running.
    pub(crate) fn enter(&self) {
        // SeqCst: whoever enters looks afterwards whether the server stops, and whoever stops it looks afterwards
        // whether calls run; one of the two must see the other.
        self.concurrency.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts one call less, and returns how many are left.
    pub(crate) fn leave(&self) -> usize {
        self.concurrency.fetch_sub(1, Ordering::SeqCst) - 1 // as in `enter`
    }

    pub(crate) fn count_error(&self) {
        self.errors.add(1);
    }

    pub(crate) fn count(&self, error: Option<ErrorCode>, latency: Duration) {
        match error {
            None => self.latency.record_duration(latency),
            Some(_) => self.count_error(),
        }
    }
}

/// What a server has counted of one method since it started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MethodReport {
    /// `"example.EchoService.Echo"`.
    pub full_name: &'static str,
    /// Calls that run now.
    pub concurrency: usize,
    /// Calls that failed, those refused by a limit included.
    pub errors: i64,
    /// Latencies of the calls that succeeded, in microseconds, from the read that brought the request to the reply.
    pub latency: LatencySnapshot,
}

impl Method {
    pub(crate) fn report(&self) -> MethodReport {
        MethodReport {
            full_name: self.descriptor.full_name,
            concurrency: self.status.concurrency(),
            errors: self.status.errors.get(),
            latency: self.status.latency.snapshot(),
        }
    }
}

fn invalid(text: String) -> RpcError {
    RpcError::new(EINVAL, text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::limit::Constant;
    use crate::server::ServerCall;
    use iobuf::IoBuf;

    pub(crate) struct Named(pub(crate) &'static ServiceDescriptor);

    impl Service for Named {
        fn descriptor(&self) -> &'static ServiceDescriptor {
            self.0
        }

        fn call(&self, _: usize, _: ServerCall, _: IoBuf) {}
    }

    macro_rules! service {
        ($full_name:literal, $($method:literal),*) => {
            Arc::new(Named(&ServiceDescriptor {
                full_name: $full_name,
                methods: &[$(MethodDescriptor {
                    name: $method,
                    full_name: concat!($full_name, ".", $method),
                    request_type: "",
                    response_type: "",
                    schema: &crate::Schema::NONE,
                }),*],
                schema: &crate::Schema::NONE,
            })) as Arc<dyn Service>
        };
    }

    fn find(table: &MethodTable, service: &str, method: &str) -> Result<&'static str, NoRoute> {
        let recent = AtomicUsize::new(usize::MAX);
        let routes = Routes::new(table, &recent);
        let find = || routes.find(service.as_bytes(), method.as_bytes());
        let first = find();
        assert_eq!(first, find(), "the second time, from memory");
        first.map(|id| table.method(id).descriptor.full_name)
    }

    #[test]
    fn names_lead_to_methods_as_in_brpc() {
        let services = vec![service!("a.Echo", "Echo", "Ping"), service!("b.Other", "Echo")];
        let table = MethodTable::new(services, HashMap::new()).unwrap();
        assert_eq!(find(&table, "a.Echo", "Ping"), Ok("a.Echo.Ping"));
        assert_eq!(find(&table, "b.Other", "Echo"), Ok("b.Other.Echo"));
        assert_eq!(find(&table, "Other", "Echo"), Ok("b.Other.Echo"));
        assert_eq!(find(&table, "Nobody", "Echo"), Err(NoRoute::Service));
        assert_eq!(find(&table, "", ""), Err(NoRoute::Service));
        assert_eq!(find(&table, "a.Nobody", "Echo"), Err(NoRoute::Method), "a name with a dot");
        assert_eq!(find(&table, "a.Echo", "Nothing"), Err(NoRoute::Method));
        assert_eq!(find(&table, "Echo", "Nothing"), Err(NoRoute::Method));
        let recent = AtomicUsize::new(0);
        assert_eq!(Routes::new(&table, &recent).find(b"Echo", b"\xff"), Err(NoRoute::Method));
        assert_eq!(Routes::new(&table, &recent).find(b"\xff", b"Echo"), Err(NoRoute::Service));
    }

    #[test]
    fn names_taken_twice_are_refused() {
        let twice = |a, b| MethodTable::new(vec![a, b], HashMap::new()).err().map(|error| error.to_string());
        let error = twice(service!("a.Echo", "A"), service!("a.Echo", "B")).unwrap();
        assert_eq!(error, "[E22]service=a.Echo was added twice");
        let error = twice(service!("a.Echo", "A"), service!("b.Echo", "B")).unwrap();
        assert_eq!(error, "[E22]service=b.Echo has the short name of service=a.Echo");
    }

    #[test]
    fn a_limiter_needs_its_method() {
        let limit = |name: &str| {
            let limiters =
                HashMap::from([(name.to_owned(), Box::new(Constant::new(1)) as Box<dyn ConcurrencyLimiter>)]);
            MethodTable::new(vec![service!("a.Echo", "A")], limiters)
        };
        assert!(limit("a.Echo.A").unwrap().methods()[0].limit.is_some());
        assert_eq!(limit("a.Echo.B").err().unwrap().code(), EINVAL);
    }
}
