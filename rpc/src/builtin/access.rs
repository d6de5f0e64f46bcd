//! Who may see the pages, and who may change something through them: pure rules (`docs/security.md`). A page is seen
//! from this machine, under a loopback name, or through the internal port, unless it was opened. A change is made from
//! this machine, by somebody whom no other site sent, or with the server's token.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::PageOptions;
use super::request::{PageRequest, Verb};
use crate::transport::Endpoint;

/// Where a request comes from, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// This machine: loopback or a Unix socket.
    Local,
    /// Anywhere, through the internal port.
    Internal,
    /// Another machine.
    Remote,
}

impl Peer {
    pub(crate) fn of(remote: &Endpoint) -> Peer {
        match remote {
            Endpoint::Unix(_) => Peer::Local,
            Endpoint::Tcp(address) if address.ip().to_canonical().is_loopback() => Peer::Local,
            Endpoint::Tcp(_) | Endpoint::Named(_) => Peer::Remote,
        }
    }
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The pages are closed to other machines.
    NotOpened,
    /// The pages are only to be had at another port.
    InternalPortOnly,
    /// A browser was sent here by another site.
    CrossSite,
    /// The name by which the server was reached is not one of this machine.
    ForeignHost,
    /// The same, for somebody who only looks.
    SeenUnderForeignHost,
    /// From there a token is needed, and the server has none.
    NoTokenSet,
    /// From there a token is needed, and none or another one came.
    WrongToken,
    /// Neither GET nor POST.
    WrongVerb,
}

impl Denied {
    /// What to tell whoever asked, and what he can do.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Denied::NotOpened => {
                "The debug pages are closed to other machines. Ask from the machine itself or through an SSH tunnel, or \
                 let the server's builder open the pages or an internal port"
            }
            Denied::InternalPortOnly => "The debug pages of this server are at its internal port",
            Denied::CrossSite => {
                "Another site's page must not change this server. Open the page itself and try again"
            }
            Denied::ForeignHost => {
                "Changes from this machine are taken under a loopback name only. Use localhost or 127.0.0.1, or the \
                 server's token"
            }
            Denied::SeenUnderForeignHost => {
                "The debug pages are shown to this machine under a loopback name only, as this request may have come \
                 through a proxy or from another site's page. Use localhost or 127.0.0.1, or let the server's builder open \
                 the pages or an internal port"
            }
            Denied::NoTokenSet => {
                "Changes are taken from the machine itself only: the server was not given a token for its pages"
            }
            Denied::WrongToken => {
                "Changes from elsewhere need the server's token, as `Authorization: Bearer ...' or in a posted form"
            }
            Denied::WrongVerb => "Only GET and POST change something here",
        }
    }
}

/// Whether the pages may be seen by whoever reached the server as `host`.
pub(crate) fn may_read(
    peer: Peer,
    host: &str,
    has_internal: bool,
    options: &PageOptions,
) -> Result<(), Denied> {
    match peer {
        Peer::Internal => Ok(()),
        _ if has_internal => Err(Denied::InternalPortOnly),
        _ if options.is_open() => Ok(()),
        Peer::Local if is_loopback_name(host) => Ok(()),
        Peer::Local => Err(Denied::SeenUnderForeignHost),
        Peer::Remote => Err(Denied::NotOpened),
    }
}

/// Whether something may be changed by a request that may see the pages.
pub(crate) fn may_change(peer: Peer, request: &PageRequest, token: Option<&str>) -> Result<(), Denied> {
    if !matches!(request.verb, Verb::Get | Verb::Post) {
        return Err(Denied::WrongVerb);
    }
    if request.is_cross_site {
        return Err(Denied::CrossSite);
    }
    let local = match peer {
        Peer::Local if is_loopback_name(&request.host) => return Ok(()),
        Peer::Local => Err(Denied::ForeignHost),
        Peer::Internal | Peer::Remote => Err(Denied::NoTokenSet),
    };
    let given = request.token.as_deref().or_else(|| request.query.get_from_form("token"));
    match (token, given) {
        (Some(token), Some(given)) if is_same(token, given) => Ok(()),
        (Some(_), Some(_)) => Err(Denied::WrongToken),
        (Some(_), None) if peer != Peer::Local => Err(Denied::WrongToken),
        _ => local,
    }
}

/// Whether a `Host` names this machine to itself. A name that leads here only because somebody's DNS says so is none; no
/// name at all is one, as browsers always send it.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(name, _)| name),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    host.is_empty()
        || name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<Ipv4Addr>().map(IpAddr::V4).is_ok_and(|address| address.is_loopback())
        || name.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Compares in a time that depends on the lengths only.
fn is_same(token: &str, given: &str) -> bool {
    let differences = token.bytes().zip(given.bytes()).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    !token.is_empty() && token.len() == given.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::super::request::Query;
    use super::super::tests::get;
    use super::*;

    #[test]
    fn peers_are_told_apart() {
        for (address, peer) in [
            ("127.0.0.1:1", Peer::Local),
            ("127.8.9.1:1", Peer::Local),
            ("[::1]:1", Peer::Local),
            ("[::ffff:127.0.0.1]:1", Peer::Local),
            ("unix:/run/a", Peer::Local),
            ("10.0.0.1:1", Peer::Remote),
            ("0.0.0.0:1", Peer::Remote),
            ("[::ffff:10.0.0.1]:1", Peer::Remote),
            ("[fe80::1]:1", Peer::Remote),
        ] {
            assert_eq!(Peer::of(&Endpoint::resolve(address).unwrap()), peer, "{address}");
        }
    }

    #[test]
    fn who_may_read() {
        let closed = PageOptions::new();
        let open = PageOptions::new().open_to_all();
        for (peer, has_internal, options, expected) in [
            (Peer::Local, false, &closed, Ok(())),
            (Peer::Remote, false, &closed, Err(Denied::NotOpened)),
            (Peer::Remote, false, &open, Ok(())),
            (Peer::Local, true, &closed, Err(Denied::InternalPortOnly)),
            (Peer::Remote, true, &open, Err(Denied::InternalPortOnly)),
            (Peer::Internal, true, &closed, Ok(())),
        ] {
            assert_eq!(
                may_read(peer, "localhost", has_internal, options),
                expected,
                "{peer:?} {has_internal}"
            );
        }
        assert_eq!(may_read(Peer::Local, "shop.example", false, &closed), Err(Denied::SeenUnderForeignHost));
        assert_eq!(may_read(Peer::Local, "shop.example", false, &open), Ok(()));
        assert_eq!(may_read(Peer::Internal, "box.example", true, &closed), Ok(()));
    }

    #[test]
    fn who_may_change() {
        use Denied::*;
        let none = None;
        let right = Some("secret");
        for (peer, host, cross, set, given, expected) in [
            (Peer::Local, "127.0.0.1:8000", false, none, none, Ok(())),
            (Peer::Local, "localhost:8000", false, none, none, Ok(())),
            (Peer::Local, "LocalHost.", false, none, none, Ok(())),
            (Peer::Local, "app.localhost", false, none, none, Ok(())),
            (Peer::Local, "[::1]:8000", false, none, none, Ok(())),
            (Peer::Local, "", false, none, none, Ok(())),
            (Peer::Local, "evil.example:8000", false, none, none, Err(ForeignHost)),
            (Peer::Local, "localhost.evil.example", false, none, none, Err(ForeignHost)),
            (Peer::Local, "127.0.0.1.evil.example", false, none, none, Err(ForeignHost)),
            (Peer::Local, "evil.example", false, right, none, Err(ForeignHost)),
            (Peer::Local, "evil.example", false, right, right, Ok(())),
            (Peer::Local, "localhost:8000", true, none, none, Err(CrossSite)),
            (Peer::Local, "localhost:8000", true, right, right, Err(CrossSite)),
            (Peer::Remote, "localhost:8000", false, none, none, Err(NoTokenSet)),
            (Peer::Remote, "box", false, none, right, Err(NoTokenSet)),
            (Peer::Remote, "box", false, right, none, Err(WrongToken)),
            (Peer::Remote, "box", false, right, Some("secreT"), Err(WrongToken)),
            (Peer::Remote, "box", false, right, Some("secret2"), Err(WrongToken)),
            (Peer::Remote, "box", false, right, Some(""), Err(WrongToken)),
            (Peer::Remote, "box", false, Some(""), Some(""), Err(WrongToken)),
            (Peer::Remote, "box", false, right, right, Ok(())),
            (Peer::Internal, "box", false, none, none, Err(NoTokenSet)),
            (Peer::Internal, "box", false, right, right, Ok(())),
        ] {
            let mut request = get("/flags/x?setvalue=1");
            request.host = host.to_owned();
            request.is_cross_site = cross;
            request.token = given.map(str::to_owned);
            assert_eq!(
                may_change(peer, &request, set),
                expected,
                "{peer:?} {host} {cross} {set:?} {given:?}"
            );
        }
    }

    #[test]
    fn a_token_in_the_url_does_not_count_one_in_a_form_does() {
        let mut request = get("/flags/x?setvalue=1&token=secret");
        request.host = "box".to_owned();
        assert_eq!(may_change(Peer::Remote, &request, Some("secret")), Err(Denied::WrongToken));
        request.verb = Verb::Post;
        request.query = Query::parse(b"");
        request.query.add_form(b"token=secret");
        assert_eq!(may_change(Peer::Remote, &request, Some("secret")), Ok(()));
        request.verb = Verb::Head;
        assert_eq!(may_change(Peer::Local, &request, None), Err(Denied::WrongVerb));
    }
}
