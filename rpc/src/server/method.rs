//! The methods of a server: how a name leads to one, and what is known of each while it runs.
//!
//! Built once when the server starts and never changed, so that looking up takes no lock.

mod route;
mod status;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bthread::sync::OnceLock;

use super::master::MasterOptions;
use super::options::ServiceOptions;
use super::restful::{self, PathMap};
use super::runs_on::RunsOn;
use crate::builtin;
use crate::error::{EINVAL, RpcError};
use crate::limit::{self, ConcurrencyLimiter};
use crate::service::{MethodDescriptor, Service, ServiceDescriptor};

pub use route::{NoRoute, PathMatch, Routes, Target};
use status::Limit;
pub use status::MethodReport;
pub(crate) use status::MethodStatus;

/// Names a method of one server. Protocols get it from [`Routes`] and hand it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodId(usize);

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
            limit: options.limiter.map(Limit::new),
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
}

fn invalid(text: String) -> RpcError {
    RpcError::new(EINVAL, text)
}

#[cfg(test)]
pub(crate) mod tests;
