//! Markup, control characters and commands in everything that comes from outside, on every page: what brpc's pages were
//! broken by (CVE-2023-45757: unescaped text of requests in `/rpcz`; CVE-2025-60021: a command from a query).

use bvar::{Status, Variable};

use super::tests::{assert_well_formed, browse, fake_server, get, text_of};
use super::*;
use crate::transport::Endpoint;

/// Closes whatever it may stand in, and then runs something.
const EVIL: &str =
    "%22%27%3E%3C/title%3E%3Cscript%3Ealert(1)%3C/script%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E%0A%00%1B";

/// Pages that last, or change what other tests look at, if asked without more; each has tests of its own.
const NOT_ASKED: &[&str] = &["hotspots", "pprof", "debug"];

fn paths() -> impl Iterator<Item = String> {
    let names =
        ALL.iter().flat_map(|page| std::iter::once(page.name()).chain(page.aliases().iter().copied()));
    names.filter(|name| !NOT_ASKED.contains(name)).map(|name| format!("/{name}"))
}

fn assert_harmless(target: &str, reply: &PageReply) {
    let header = |name: &str| {
        let found = reply.headers.iter().find(|(known, _)| *known == name);
        found.unwrap_or_else(|| panic!("{target} has no {name}")).1.as_str()
    };
    assert!(
        header("content-security-policy")
            .starts_with("default-src 'none'; script-src 'self'; style-src 'self'")
    );
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "same-origin");
    if reply.content_type.starts_with("text/html") {
        let text = text_of(reply);
        assert!(!text.contains("<script>") && !text.contains("<img"), "{target}");
        assert_well_formed(&text);
    }
    if reply.content_type.starts_with("application/json") {
        assert!(!text_of(reply).contains('<'), "{target}");
    }
}

/// A server whose every word is from somebody who means harm.
fn evil_server() -> super::tests::FakeServer {
    let evil = "\"'><script>alert(1)</script>\n\u{1b}[2J";
    let mut server = fake_server();
    server.version = evil.to_owned();
    server.paths = vec![evil.to_owned()];
    server.remote = Endpoint::Unix(evil.into());
    server.options = PageOptions::new().threads().dir(std::env::temp_dir().join(evil)).health({
        let text = evil.to_owned();
        move || Health { status: 200, text: text.clone() }
    });
    server
}

#[test]
fn no_page_shows_what_it_was_asked_as_markup() {
    let server = evil_server();
    for path in paths() {
        let mut targets =
            vec![path.clone(), format!("{path}?as_more"), format!("{path}?expand"), format!("{path}/{EVIL}")];
        let names = [
            "series",
            "dataonly",
            "console",
            "format",
            "time",
            "min_latency",
            "log_id",
            "trace",
            "span",
            "name",
            "state",
            "wait",
            "home",
            "limit",
            "offset",
            "group",
            "st",
            "search",
            "givemeall",
            "display_type",
            "opts",
            "id",
        ];
        targets.extend(names.iter().map(|name| format!("{path}?{name}={EVIL}")));
        targets.extend(names.iter().map(|name| format!("{path}/{EVIL}?{name}={EVIL}")));
        targets.push(format!("{path}/{EVIL}?setvalue={EVIL}"));
        targets.push(format!("{path}?{EVIL}={EVIL}"));
        for target in targets {
            assert_harmless(&target, &server.ask(&browse(&target)));
            let reply = server.ask(&get(&target));
            assert_harmless(&target, &reply);
            let is_binary = !reply.content_type.starts_with("text/");
            assert!(is_binary || !text_of(&reply).contains('\u{1b}'), "{target}: a terminal would be driven");
        }
    }
}

#[test]
fn no_page_shows_what_variables_and_flags_hold_as_markup() {
    use bvar::flag::Flag;
    static EVIL_FLAG: Flag<String> =
        Flag::new("untrusted_test_flag", "<script>d</script>", "<script>d</script>").reloadable();
    bvar::flag::register(&[&EVIL_FLAG]);
    EVIL_FLAG.set("\"'><script>v</script>".to_owned()).unwrap();
    let _variable =
        Status::new("\"'><script>v</script>\u{1b}".to_owned()).expose("untrusted_test_variable").unwrap();
    let server = fake_server();
    for target in
        ["/vars", "/flags", "/flags/untrusted_test_flag?setvalue&withform", "/vars/untrusted_test*?dataonly"]
    {
        let reply = server.ask(&browse(target));
        assert!(text_of(&reply).contains("&lt;script&gt;v"), "{target}");
        assert_harmless(target, &reply);
    }
    assert!(!text_of(&server.ask(&get("/vars/untrusted_test_variable"))).contains('\u{1b}'));
}

#[test]
fn closed_pages_say_so_and_nothing_else() {
    let mut server = fake_server();
    server.remote = Endpoint::resolve("203.0.113.5:1").unwrap();
    assert_eq!(text_of(&server.ask(&get("/health"))), "OK", "load balancers ask from elsewhere");
    for path in paths().filter(|path| path != "/health") {
        let reply = server.ask(&browse(&path));
        assert_eq!(reply.status, 403, "{path}");
        assert!(text_of(&reply).contains("closed to other machines"));
        assert_harmless(&path, &reply);
    }
    server.options = PageOptions::new().open_to_all();
    assert_eq!(server.ask(&get("/version")).status, 200);
    assert_eq!(server.ask(&get("/rpcz/disable")).status, 403, "changes stay closed");
    server.internal = Some(Endpoint::resolve("127.0.0.1:9").unwrap());
    server.remote = Endpoint::resolve("127.0.0.1:1").unwrap();
    assert_eq!(server.ask(&get("/version")).status, 403, "there is an internal port");
}

#[test]
fn names_of_pages_are_found_in_all_forms() {
    let name_of = |path: &str| find(path).map(|(id, rest)| (ALL[id.0].name(), rest.to_owned()));
    assert_eq!(name_of("/status"), Some(("status", String::new())));
    assert_eq!(name_of("/brpc.flags/a"), Some(("flags", "a".to_owned())));
    assert_eq!(name_of("/"), Some(("index", String::new())));
    assert_eq!(name_of("/metrics"), Some(("brpc_metrics", String::new())));
    assert_eq!(name_of("/rpcz/stats"), Some(("rpcz", "stats".to_owned())));
    assert_eq!(name_of("/brpc."), None);
    assert_eq!(name_of("/no/such/page"), None);
    let mut names: Vec<_> = paths().collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is taken twice");
}

/// The sources of the pages name nothing that starts a process.
#[test]
fn no_page_can_start_a_process() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/builtin");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let source = std::fs::read_to_string(&path).unwrap();
            for way in ["Command", "exec", "fork", "popen", "posix_spawn"].map(|way| format!("{way}{}", "("))
            {
                assert!(!source.contains(&way), "{}: {way}", path.display());
            }
            assert!(!source.contains(&["process", "::", "Command"].concat()), "{}", path.display());
        }
    }
}
