//! The methods of a server: how a name leads to one, and what is known of each while it runs.
//!
//! Built once when the server starts and never changed, so that looking up takes no lock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bthread::sync::OnceLock;
use bvar::{Adder, LatencyRecorder, LatencySnapshot, LatencyUnit};

use super::master::MasterOptions;
use super::options::ServiceOptions;
use super::restful::{self, PathMap};
use super::runs_on::RunsOn;
use crate::builtin::{self, PageId};
use crate::error::{EINVAL, ErrorCode, RpcError};
use crate::limit::{self, ConcurrencyLimiter, Ended, Entering, Exceeded};
use crate::service::{MethodDescriptor, Service, ServiceDescriptor};

/// Names a method of one server. Protocols get it from [`Routes`] and hand it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodId(usize);

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To a method of a service.
    Method(MethodId),
    /// To the service that takes everything, under this id.
    Master(MethodId),
    /// To a debug page.
    Page(PageId),
    /// To the service of this method, which has none of the name that was asked for: it is answered with a page that
    /// lists those it has, for those who may see pages, and else with the error.
    NoMethod(MethodId),
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathMatch<'p> {
    /// To what.
    pub target: Target,
    /// What is left of the path behind the names of service and method, or what a wildcard stands for; without slashes
    /// around it. Not percent-decoded, as nothing of the path is.
    pub unresolved: Cow<'p, str>,
}

/// The method that takes all requests for a service that name none of its methods.
const DEFAULT_METHOD: &str = "default_method";

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
    /// Restful mappings, by the first component of their paths.
    virtual_services: HashMap<String, PathMap>,
    /// Restful mappings that begin with a wildcard.
    global_paths: PathMap,
    /// Whether there are debug pages.
    has_pages: bool,
    /// The method of the service that takes everything, if there is one.
    master: Option<MethodId>,
    /// All paths that lead to a method and leave nothing: the short way for most requests.
    whole_paths: HashMap<String, MethodId>,
}

/// One method.
pub(crate) struct Method {
    pub(crate) service: Arc<dyn Service>,
    /// Its index in the service's descriptor.
    pub(crate) index: usize,
    pub(crate) descriptor: &'static MethodDescriptor,
    pub(crate) status: MethodStatus,
    pub(crate) limit: Option<Limit>,
    /// Calls run also while their connection has more than enough to write.
    pub(crate) ignores_eovercrowded: bool,
    pub(crate) options: Arc<ServiceOptions>,
    /// Where its code runs.
    pub(crate) runs_on: RunsOn,
    /// The paths that were mapped to it.
    pub(crate) paths: Vec<String>,
    /// Whether its request message has fields; looked up when somebody asks, who may wait for the descriptors.
    takes_message: OnceLock<bool>,
    service_name: &'static str,
}

impl Method {
    /// What its limiter admits now, if it has one that knows.
    pub(crate) fn max_concurrency(&self) -> Option<usize> {
        self.limit.as_ref()?.limiter.max_concurrency()
    }

    /// Puts another number in the place of its limit's: false if that is not a number.
    pub(crate) fn set_max_concurrency(&self, max: usize) -> bool {
        self.limit.as_ref().is_some_and(|limit| limit.limiter.set_max_concurrency(max))
    }

    /// How many calls its limiter would have refused, if it only watches.
    pub(crate) fn would_have_refused(&self) -> Option<u64> {
        self.limit.as_ref()?.limiter.would_have_refused()
    }

    /// Whether the names of service and method lead to it, rather than a mapping alone.
    fn has_default_url(&self) -> bool {
        self.paths.is_empty() || self.options.allow_default_url
    }
}

impl MethodTable {
    /// The methods of these services.
    ///
    /// # Errors
    /// Two services with one full name or one short name; a limiter for a method that none has; a restful mapping that
    /// is none, or whose path is taken.
    pub(crate) fn new(
        services: Vec<(Arc<dyn Service>, ServiceOptions)>,
        limiters: HashMap<String, Box<dyn ConcurrencyLimiter>>,
        default_limiter: &str,
        has_pages: bool,
    ) -> Result<Self, RpcError> {
        let mut table = MethodTable {
            methods: Vec::new(),
            services: HashMap::new(),
            short_names: HashMap::new(),
            virtual_services: HashMap::new(),
            global_paths: PathMap::default(),
            has_pages,
            master: None,
            whole_paths: HashMap::new(),
        };
        let mut mappings = Vec::new();
        for (service, options) in services {
            let name = service.descriptor().full_name;
            mappings.push((name, restful::parse(&options.restful)?));
            table.add(service, Arc::new(options))?;
        }
        // Behind all services, as none of them may have the name of a path's first component.
        for (service, mappings) in mappings {
            mappings.into_iter().try_for_each(|mapping| table.map(service, mapping))?;
        }
        table.note_whole_paths();
        for (name, limiter) in limiters {
            let method = table.methods.iter_mut().find(|method| method.descriptor.full_name == name);
            let method =
                method.ok_or_else(|| invalid(format!("Fail to limit method={name}: there is none")))?;
            method.limit = Some(Limit::new(limiter));
        }
        for method in table.methods.iter_mut().filter(|method| method.limit.is_none()) {
            method.limit = limit::from_specification(default_limiter)?.map(Limit::new);
        }
        Ok(table)
    }

    fn note_whole_paths(&mut self) {
        let mut whole = HashMap::new();
        for method in &self.methods {
            let short = method.service.descriptor().short_name();
            let by_name =
                [method.service_name, short].map(|service| format!("/{service}/{}", method.descriptor.name));
            for path in by_name.iter().chain(&method.paths) {
                let found = self.find_path(path).ok().filter(|found| found.unresolved.is_empty());
                if let Some(PathMatch { target: Target::Method(id), .. }) = found {
                    whole.insert(path.clone(), id);
                }
            }
        }
        self.whole_paths = whole;
    }

    fn map(&mut self, service: &str, mapping: restful::Mapping) -> Result<(), RpcError> {
        let restful::Mapping { path, method } = mapping;
        let found = self.services.get(service).and_then(|methods| methods.get(method.as_str())).copied();
        let index = found.ok_or_else(|| {
            invalid(format!("restful path={path}: service={service} has no method={method}"))
        })?;
        let map = match restful::first_component(&path) {
            None => &mut self.global_paths,
            Some(first) if self.has_pages && builtin::find(first).is_some() => {
                return Err(invalid(format!("restful path={path} begins as the page /{first}")));
            }
            Some(first) if self.services.contains_key(first) || self.short_names.contains_key(first) => {
                return Err(invalid(format!("restful path={path} begins as service={first}")));
            }
            Some(first) => self.virtual_services.entry(first.to_owned()).or_default(),
        };
        map.add(&path, index)?;
        self.methods[index].paths.push(path);
        Ok(())
    }

    fn add(&mut self, service: Arc<dyn Service>, options: Arc<ServiceOptions>) -> Result<(), RpcError> {
        let ServiceDescriptor { full_name, methods, .. } = service.descriptor();
        options.check_methods(service.descriptor())?;
        let mut by_name = HashMap::new();
        for (index, descriptor) in methods.iter().enumerate() {
            by_name.insert(descriptor.name, self.methods.len());
            self.methods.push(Method {
                service: service.clone(),
                index,
                descriptor,
                status: MethodStatus::new(),
                limit: None,
                runs_on: options.runs_on_of(descriptor.name),
                ignores_eovercrowded: options.ignores_eovercrowded(descriptor.name),
                options: options.clone(),
                paths: Vec::new(),
                takes_message: OnceLock::new(),
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

    /// Adds the service that takes everything. No name leads to it.
    pub(super) fn add_master(&mut self, service: Arc<dyn Service>, options: MasterOptions) {
        self.master = Some(MethodId(self.methods.len()));
        self.methods.push(Method {
            descriptor: &service.descriptor().methods[0],
            service_name: "",
            service,
            index: 0,
            status: MethodStatus::new(),
            limit: options.limiter.map(|limiter| Limit { limiter, running: AtomicUsize::new(0) }),
            ignores_eovercrowded: options.ignore_eovercrowded,
            runs_on: RunsOn::default(),
            options: Arc::default(),
            paths: Vec::new(),
            takes_message: OnceLock::new(),
        });
    }

    pub(crate) fn method(&self, id: MethodId) -> &Method {
        &self.methods[id.0]
    }

    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    pub(crate) fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Calls running in all methods.
    pub(crate) fn concurrency(&self) -> usize {
        self.methods.iter().map(|method| method.status.concurrency()).sum()
    }

    /// Where a path leads (`spec/protocols-http.md` §2).
    fn find_path<'p>(&self, path: &'p str) -> Result<PathMatch<'p>, NoRoute> {
        if let Some(id) = self.whole_paths.get(path) {
            return Ok(PathMatch { target: Target::Method(*id), unresolved: Cow::Borrowed("") });
        }
        let (first, rest) = split(path);
        if self.has_pages
            && let Some((page, rest)) = builtin::find(path)
        {
            return Ok(PathMatch { target: Target::Page(page), unresolved: tidy(rest) });
        }
        let service = if first.contains('.') { Some(first) } else { self.short_names.get(first).copied() };
        if let Some(methods) = service.and_then(|service| self.services.get(service)) {
            let (second, behind) = split(rest);
            let named = methods.get(second).map(|index| (*index, behind));
            let found = named.or_else(|| methods.get(DEFAULT_METHOD).map(|index| (*index, rest)));
            if let Some((index, unresolved)) = found {
                if !self.methods[index].has_default_url() {
                    return Err(NoRoute::Method);
                }
                let target = Target::Method(MethodId(index));
                return Ok(PathMatch { target, unresolved: tidy(unresolved) });
            }
            if let Some(global) = self.find_global(path) {
                return Ok(global);
            }
            // As brpc: whoever spells the package is a program rather than a person.
            let helps = self.has_pages && !first.contains('.');
            let any = methods.values().min().filter(|_| helps).ok_or(NoRoute::Method)?;
            let target = Target::NoMethod(MethodId(*any));
            return Ok(PathMatch { target, unresolved: tidy(second) });
        }
        let mapped = self.virtual_services.get(first).and_then(|map| map.find(path)).map(path_match);
        let found = mapped.or_else(|| self.find_global(path));
        found.or_else(|| self.find_icon(path)).ok_or(NoRoute::Service)
    }

    /// Browsers ask for this one on their own. A site's own icon comes before ours.
    fn find_icon<'p>(&self, path: &str) -> Option<PathMatch<'p>> {
        let is_icon = self.has_pages && path == "/favicon.ico";
        let (page, rest) = is_icon.then(|| builtin::find(builtin::ICON_PATH))??;
        Some(PathMatch { target: Target::Page(page), unresolved: rest.into() })
    }

    fn find_global<'p>(&self, path: &str) -> Option<PathMatch<'p>> {
        if self.global_paths.is_empty() { None } else { self.global_paths.find(path).map(path_match) }
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

/// The first component of a path, and what is behind it.
fn split(path: &str) -> (&str, &str) {
    let path = path.trim_start_matches('/');
    path.split_once('/').unwrap_or((path, ""))
}

/// A path without slashes around it or doubled in it.
fn tidy(path: &str) -> Cow<'_, str> {
    let path = path.trim_matches('/');
    if path.contains("//") {
        let parts: Vec<_> = restful::components(path).collect();
        parts.join("/").into()
    } else {
        path.into()
    }
}

fn path_match<'p>((index, unresolved): (usize, String)) -> PathMatch<'p> {
    PathMatch { target: Target::Method(MethodId(index)), unresolved: unresolved.into() }
}

/// Finds methods by the names that come with requests; made for one connection, whose requests are often for the
/// same method.
pub struct Routes<'a> {
    table: &'a MethodTable,
    recent: &'a AtomicUsize,
    wants_credential: bool,
}

impl<'a> Routes<'a> {
    /// `recent` starts at any number.
    pub(crate) fn new(table: &'a MethodTable, recent: &'a AtomicUsize) -> Self {
        Routes { table, recent, wants_credential: false }
    }

    /// The next call is verified.
    pub(crate) fn with_credential(self, wants_credential: bool) -> Self {
        Routes { wants_credential, ..self }
    }

    /// Whether what the caller identifies itself with is looked at, so that a protocol need not keep it otherwise:
    /// [`RequestExtras::credential`](crate::protocol::RequestExtras::credential).
    pub fn wants_credential(&self) -> bool {
        self.wants_credential
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

impl Routes<'_> {
    /// Where a path leads (`spec/protocols-http.md` §2, §3): to a debug page, to a method by the names of service and
    /// method, or by a restful mapping. Doubled slashes count once; nothing is percent-decoded.
    ///
    /// # Errors
    /// [`NoRoute::Method`] if the path begins with the name of a service, else [`NoRoute::Service`].
    pub fn find_path<'p>(&self, path: &'p str) -> Result<PathMatch<'p>, NoRoute> {
        self.table.find_path(path)
    }

    /// What was decided about the service of a method.
    pub fn options(&self, method: MethodId) -> &ServiceOptions {
        &self.table.method(method).options
    }

    /// Whether a method's request message has fields, as far as its descriptor tells.
    pub fn takes_message(&self, method: MethodId) -> bool {
        let method = self.table.method(method);
        *method.takes_message.get_or_init(|| {
            let message = method.descriptor.request_descriptor();
            message.is_none_or(|message| message.fields().len() > 0)
        })
    }

    /// The service that takes everything, whatever it names, if the server has one.
    pub fn master(&self) -> Option<Target> {
        self.table.master.map(Target::Master)
    }

    /// The names of a method.
    pub fn descriptor(&self, method: MethodId) -> &'static MethodDescriptor {
        self.table.method(method).descriptor
    }
}

/// A limiter and what it judges by: calls that are not answered yet. They are counted apart from those that run, since
/// a caller that has its answer must not find itself counted when it calls again.
pub(crate) struct Limit {
    limiter: Box<dyn ConcurrencyLimiter>,
    running: AtomicUsize,
}

impl Limit {
    fn new(limiter: Box<dyn ConcurrencyLimiter>) -> Self {
        Limit { limiter, running: AtomicUsize::new(0) }
    }

    /// Counts one more call if the limiter admits it; else says how many there would have been, and which number that
    /// exceeds: `None` if the limiter has panicked.
    pub(crate) fn enter(&self, timeout: Option<Duration>) -> Result<(), (usize, Option<Exceeded>)> {
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1; // a count of its own, as in `leave`
        // It is the user's. The call is answered all the same, and leaves no count behind.
        let said = catch_unwind(AssertUnwindSafe(|| self.limiter.admit(&Entering::new(running, timeout))));
        let exceeded = match said {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(exceeded)) => Some(exceeded),
            Err(_) => None,
        };
        self.running.fetch_sub(1, Ordering::Relaxed);
        Err((running, exceeded))
    }

    /// An admitted call is about to be answered.
    pub(crate) fn leave(&self, call: &Ended) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.limiter.ended(call);
    }
}

/// What is counted of one method.
pub(crate) struct MethodStatus {
    concurrency: AtomicUsize,
    /// Nanoseconds that fast calls take to run, an estimate; 0: none has ended that was measured.
    fast_run: AtomicU64,
    pub(super) errors: Arc<Adder<i64>>,
    /// Of calls that succeeded.
    pub(super) latency: Arc<LatencyRecorder>,
}

impl MethodStatus {
    pub(super) fn new() -> Self {
        MethodStatus {
            concurrency: AtomicUsize::new(0),
            fast_run: AtomicU64::new(0),
            errors: Arc::new(Adder::new()),
            latency: Arc::new(LatencyRecorder::new(LatencyUnit::Micros)),
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

    /// What fast calls take to run: one with less time left than this is late whatever is done.
    pub(crate) fn fast_run(&self) -> Duration {
        Duration::from_nanos(self.fast_run.load(Ordering::Relaxed)) // an estimate, pairs with nothing
    }

    /// A call took so long to run. The estimate goes down eight times as fast as up, so that it stays among the fast
    /// ones however slow the slow ones are.
    pub(crate) fn measure_run(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        // Relaxed: an estimate; of two that meet one is lost.
        let known = self.fast_run.load(Ordering::Relaxed);
        let next = match known {
            0 => took,
            _ if took < known => known - (known - took) / 8,
            _ => known + (took - known) / 64,
        };
        self.fast_run.store(next, Ordering::Relaxed);
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
pub(crate) mod tests;
