//! How a name or a path leads to a method, a page, or nowhere.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{MethodId, MethodTable};
use crate::builtin::{self, PageId};
use crate::server::options::ServiceOptions;
use crate::server::restful;
use crate::service::MethodDescriptor;

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

/// Why there is no method of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The server has no service of this name.
    Service,
    /// The service, if there is one, has no method of this name.
    Method,
}

/// The method that takes all requests for a service that name none of its methods.
const DEFAULT_METHOD: &str = "default_method";

impl MethodTable {
    /// Where a path leads (`spec/protocols-http.md` §2).
    pub(super) fn find_path<'p>(&self, path: &'p str) -> Result<PathMatch<'p>, NoRoute> {
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
