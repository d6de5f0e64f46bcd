//! What a page is to the rest.

use super::context::PageContext;
use super::reply::PageReply;
use super::request::PageRequest;

/// A debug page: content for a request, never a protocol. One file each, listed in [`ALL`](super::ALL).
pub(crate) trait Page: Send + Sync {
    /// The first part of its path: `status`.
    fn name(&self) -> &'static str;

    /// Other first parts that lead here.
    fn aliases(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether everybody may see it, as it tells nothing but what it was made to tell.
    fn is_public(&self) -> bool {
        false
    }

    /// One line for the list of pages.
    fn about(&self) -> &'static str;

    /// The answer. Runs in a bthread of its own connection, which it may block; work that keeps the thread busy or waits
    /// for files goes to `bthread::blocking`.
    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply;
}
