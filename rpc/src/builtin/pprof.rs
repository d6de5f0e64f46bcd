//! `/pprof`: what the pprof tools ask for (`spec/builtin-services.md` §11), in the forms that brpc serves; and
//! `/debug/pprof`, where Go's tools look, as protobuf.

use std::time::Duration;

use profile::{Kind, Profile};

use super::context::PageContext;
use super::page::Page;
use super::profiling::{self, Failure, SECONDS_DEFAULT};
use super::reply::{BYTES, EPERM, PageReply, lines};
use super::request::{PageRequest, Verb};
use crate::error::{EINVAL, ENOMETHOD};

/// Bytes of addresses that one request may ask the names of.
const SYMBOL_BYTES_MAX: usize = 2 << 20;

pub(super) struct Pprof;

/// `/debug/pprof`.
pub(super) struct Debug;

impl Page for Pprof {
    fn name(&self) -> &'static str {
        "pprof"
    }

    fn about(&self) -> &'static str {
        "Profiles for the pprof tools"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let found = match request.rest.as_str() {
            "symbol" => symbol(request),
            "cmdline" => Ok(PageReply::text(lines(&profile::cmdline()))),
            "profile" => timed(request, Kind::Cpu).and_then(|profile| legacy(&profile)),
            "contention" => timed(request, Kind::Contention).and_then(|profile| legacy(&profile)),
            "heap" => run(request, Kind::Heap, Duration::ZERO).and_then(|profile| legacy(&profile)),
            "growth" => run(request, Kind::Growth, Duration::ZERO).and_then(|profile| legacy(&profile)),
            other => Err(nothing(other)),
        };
        found.unwrap_or_else(|failure| refuse(context, request, failure))
    }
}

impl Page for Debug {
    fn name(&self) -> &'static str {
        "debug"
    }

    fn about(&self) -> &'static str {
        "Profiles where Go's tools look for them: /debug/pprof/profile"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let default = Duration::from_secs(SECONDS_DEFAULT);
        let duration = profiling::seconds(request).map(|given| given.unwrap_or(default));
        let kind = match request.rest.strip_prefix("pprof/").unwrap_or("") {
            "profile" => Ok(Kind::Cpu),
            "mutex" => Ok(Kind::Contention),
            "block" => Ok(Kind::OffCpu),
            "heap" => Ok(Kind::Heap),
            "allocs" => Ok(Kind::Growth),
            "cmdline" => return PageReply::text(lines(&profile::cmdline())),
            "symbol" => {
                return symbol(request).unwrap_or_else(|failure| refuse(context, request, failure));
            }
            other => Err(nothing(other)),
        };
        let profile = kind.and_then(|kind| run(request, kind, duration?));
        match profile {
            Ok(profile) => PageReply::new(BYTES, profile.to_pprof()),
            Err(failure) => refuse(context, request, failure),
        }
    }
}

fn nothing(name: &str) -> Failure {
    Failure::new(ENOMETHOD, format!("There is no profile `{}'", name))
}

/// A profiler that is off does not exist for these tools.
fn refuse(context: &PageContext<'_>, request: &PageRequest, failure: Failure) -> PageReply {
    let code = if failure.code == EPERM && !request.is_cross_site { ENOMETHOD } else { failure.code };
    PageReply::error(context, request, code, failure.text)
}

/// A run whose length the query must say.
fn timed(request: &PageRequest, kind: Kind) -> Result<Profile, Failure> {
    let duration = profiling::seconds(request)?;
    let duration = duration.ok_or_else(|| Failure::new(EINVAL, "Say for how long: ?seconds=N"))?;
    run(request, kind, duration)
}

fn run(request: &PageRequest, kind: Kind, duration: Duration) -> Result<Profile, Failure> {
    profiling::may_start(request)?;
    Ok(profile::run(kind, duration)?)
}

fn legacy(profile: &Profile) -> Result<PageReply, Failure> {
    let bytes = profile.to_legacy().ok_or_else(|| nothing(profile.kind().name()))?;
    Ok(PageReply::new(BYTES, bytes))
}

fn symbol(request: &PageRequest) -> Result<PageReply, Failure> {
    if request.verb != Verb::Post {
        return Ok(PageReply::text(format!("num_symbols: {}\n", profile::symbol::count())));
    }
    if request.body.len() > SYMBOL_BYTES_MAX {
        return Err(Failure::new(EINVAL, format!("More than {SYMBOL_BYTES_MAX} bytes of addresses")));
    }
    let body = request.body.to_vec();
    let names = profile::symbol::answer(&String::from_utf8_lossy(&body));
    Ok(PageReply::text(lines(&names)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fake_server, get, text_of};
    use super::*;

    #[test]
    fn the_tools_get_what_they_ask_for() {
        let server = fake_server();
        assert_eq!(server.ask(&get("/pprof/profile")).status, 400, "seconds are missing");
        assert_eq!(server.ask(&get("/pprof/profile?seconds=0")).status, 400);
        assert_eq!(server.ask(&get("/pprof/nothing")).status, 404);
        assert!(server.text("/pprof/symbol").starts_with("num_symbols: "));
        let cmdline = server.text("/pprof/cmdline");
        assert!(cmdline.lines().next().unwrap().contains("rpc-"), "{cmdline}");
        let mut request = get("/pprof/symbol");
        request.verb = Verb::Post;
        request.body = "0x1+0x2".into();
        assert!(text_of(&server.ask(&request)).starts_with("0x1\t"));
        let reply = server.ask(&get("/pprof/contention?seconds=1"));
        assert!(text_of(&reply).starts_with("--- contention"), "{}", text_of(&reply));
        let reply = server.ask(&get("/debug/pprof/block?seconds=1"));
        assert!(reply.body.to_vec().starts_with(&[0x1f, 0x8b]), "gzip");
    }

    /// CVE-2025-60021: options from the query ended in a shell command.
    #[test]
    fn options_of_the_query_run_nothing() {
        let server = fake_server();
        let mark = std::env::temp_dir().join(format!("bobbin-pprof-{}", std::process::id()));
        for command in
            ["$(touch M)", "`touch M`", ";touch M;", "| touch M", "-x --postscript=touch M", "\ntouch M\n"]
        {
            let command = command.replace('M', &mark.to_string_lossy());
            let command = percent_encoding::utf8_percent_encode(&command, percent_encoding::NON_ALPHANUMERIC);
            for page in ["pprof/heap", "pprof/growth", "hotspots/heap", "hotspots/contention", "memory"] {
                for name in ["extra_options", "opts", "display", "display_type", "view", "base"] {
                    server.ask(&get(&format!("/{page}?{name}={command}&seconds=0")));
                }
            }
        }
        assert!(!mark.exists());
    }
}
