//! The debug pages: what a running server tells about itself (`spec/builtin-services.md`).
//!
//! A [`PageRequest`] comes from any protocol that can carry one, a [`PageReply`] goes back; no page knows HTTP. Each page is
//! a file that is listed in `ALL`. All HTML is made by `write`, who may see and change what is decided by `access`, and no
//! page starts a process.

mod access;
mod assets;
mod audit;
mod bad_method;
mod blocked;
mod bthreads;
mod charts;
mod clock;
mod connections;
mod context;
mod dir;
mod fibers;
mod flags;
mod frame;
mod health;
mod history;
mod hotspots;
mod ids;
mod index;
mod memory;
mod metrics;
mod options;
mod page;
mod pprof;
mod profiling;
mod protobufs;
mod reply;
mod request;
mod rpcz;
mod rpcz_bar;
mod security;
mod selection;
mod sockets;
mod stacks;
mod status;
#[cfg(test)]
mod tests;
mod threads;
#[cfg(test)]
mod untrusted_tests;
mod vars;
mod version;
mod vlog;
mod write;

pub(crate) use assets::ICON_PATH;
pub(crate) use bad_method::bad_method;
pub(crate) use context::{ConnectionInfo, MethodInfo, PageContext, ServerView, ServiceInfo, Traffic};
pub use options::{Health, PageOptions};
pub(crate) use page::Page;
pub use reply::PageReply;
pub use request::{Form, PageRequest, QUERY_BYTES_MAX, QUERY_PAIRS_MAX, Query, Verb, is_cross_site};

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use crate::error::EINTERNAL;

/// All pages, in the order of the list at `/index`.
pub(crate) static ALL: &[&dyn Page] = &[
    &index::Index,
    &status::Status,
    &vars::Vars,
    &connections::Connections,
    &flags::Flags,
    &rpcz::Rpcz,
    &fibers::Fibers,
    &hotspots::Hotspots,
    &pprof::Pprof,
    &pprof::Debug,
    &metrics::Metrics,
    &blocked::Blocked,
    &security::Security,
    &bthreads::Bthreads,
    &threads::Threads,
    &sockets::Sockets,
    &ids::Ids,
    &protobufs::Protobufs,
    &protobufs::List,
    &memory::Memory,
    &dir::Dir,
    &vlog::Vlog,
    &version::Version,
    &health::Health,
    &assets::Js,
];

/// Names a page of the process. Protocols get it from `Routes` and hand it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageId(usize);

/// The page that a path (percent-decoded, without the query) leads to, and the part of the path behind its name. The
/// names of pages win over those of services. `/` is the index; `/brpc.status` is `/status`.
pub(crate) fn find(path: &str) -> Option<(PageId, &str)> {
    let path = path.trim_start_matches('/');
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let name = match first.strip_prefix("brpc.") {
        Some(name) => name,
        None if first.is_empty() => "index",
        None => first,
    };
    // On the way of every request by path: of the names of other lengths only the lengths are looked at.
    let found = NAMES.binary_search_by(|(known, _)| (known.len(), *known).cmp(&(name.len(), name))).ok()?;
    Some((PageId(NAMES[found].1), rest))
}

/// All names of pages by their lengths, then by themselves, with their places in `ALL`.
static NAMES: LazyLock<Vec<(&'static str, usize)>> = LazyLock::new(|| {
    let pages = ALL.iter().enumerate();
    let mut names: Vec<_> = pages
        .flat_map(|(index, page)| {
            std::iter::once(page.name()).chain(page.aliases().iter().copied()).map(move |name| (name, index))
        })
        .collect();
    names.sort_unstable_by_key(|(name, _)| (name.len(), *name));
    names
});

/// Makes the flags of the pages known. Called where a server starts.
pub(crate) fn register_flags() {
    options::register_flags();
    bvar::flag::register(&[&connections::MAX_SHOWN, &profiling::MAX_SECONDS]);
}

/// Serves a page to whoever may see it. May park the bthread or block it for as long as the page says. A panic in code of
/// the user that a page asks (a health reporter, say) ends this request alone.
pub(crate) fn serve(id: PageId, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    let denied = |text: &str| PageReply::text(format!("[E{}]{text}", reply::EPERM));
    let may_read = if ALL[id.0].is_public() { Ok(()) } else { context.may_read(request) };
    let reply = match may_read {
        Err(why) => denied(why.hint()).with_status(403),
        Ok(()) if request.verb == Verb::Other => denied("Only GET, HEAD and POST are for debug pages")
            .with_status(405)
            .with_header("allow", "GET, HEAD, POST"),
        Ok(()) => catch_unwind(AssertUnwindSafe(|| ALL[id.0].serve(context, request))).unwrap_or_else(|_| {
            PageReply::error(context, request, EINTERNAL, "What the page asked has panicked")
        }),
    };
    reply.secured()
}
