//! `/security`: what each port speaks, what is bounded, and who may see and change what.

use serde_json::json;

use super::access::Peer;
use super::audit;
use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::write::{Attr, Html};

pub(super) struct Security;

impl Page for Security {
    fn name(&self) -> &'static str {
        "security"
    }

    fn about(&self) -> &'static str {
        "What each port speaks, the limits, and who may change something"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let sections = sections(context);
        if request.wants_json() {
            let sections = sections.iter().map(|(name, facts)| {
                let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
                ((*name).to_owned(), serde_json::Value::Object(facts.collect()))
            });
            PageReply::json(&serde_json::Value::Object(sections.collect()))
        } else if request.is_html() {
            frame::page(context, "security", "", |html| {
                sections.iter().for_each(|(name, facts)| section(html, name, facts));
                changes(html);
            })
        } else {
            let mut out = String::new();
            for (name, facts) in &sections {
                out += &format!("[{name}]\n");
                for (name, value) in facts {
                    out += &format!("{name}: {}\n", one_line(value));
                }
                out.push('\n');
            }
            PageReply::text(out)
        }
    }
}

type Facts = Vec<(&'static str, String)>;

fn sections(context: &PageContext<'_>) -> Vec<(&'static str, Facts)> {
    let server = context.server;
    let options = server.options();
    let limits = server.limits();
    let unlimited = |n: usize| if n == 0 { "unlimited".to_owned() } else { n.to_string() };
    let has_internal = server.internal().is_some();
    let readers = match (has_internal, options.is_open()) {
        (true, _) => "whoever reaches the internal port",
        (false, true) => "everybody who reaches the port (opened by the builder)",
        (false, false) => "this machine: loopback and Unix sockets",
    };
    let changers = match (options.secret().is_some(), has_internal) {
        (true, true) => "whoever has the token, through the internal port",
        (true, false) => "this machine under a loopback name; elsewhere whoever has the token",
        (false, true) => "nobody: there is an internal port and no token",
        (false, false) => "this machine under a loopback name",
    };
    let flags = if options.has_immutable_flags() { "nobody (immutable)" } else { changers };
    let on = |is: bool| if is { "on" } else { "off" }.to_owned();
    let mut ports = vec![
        ("listening", server.listening().to_string()),
        ("protocols", server.protocols().join(" ")),
        ("encryption", server.transport_security()),
    ];
    if let Some(internal) = server.internal() {
        ports.push(("internal_port", internal.to_string()));
    }
    let peer = if context.is_internal { Peer::Internal } else { Peer::of(context.remote) };
    vec![
        ("ports", ports),
        (
            "limits",
            vec![
                ("max_connections", server.max_connections().to_string()),
                ("max_concurrency", unlimited(server.max_concurrency())),
                ("max_body_size", limits.max_body_size.to_string()),
                ("max_unwritten_bytes", limits.max_unwritten_bytes.to_string()),
            ],
        ),
        (
            "pages",
            vec![
                ("seen_by", readers.to_owned()),
                ("changed_by", changers.to_owned()),
                ("flags_changed_by", flags.to_owned()),
                ("token", if options.secret().is_some() { "set" } else { "not set" }.to_owned()),
                (
                    "dir",
                    options.dir_root().map_or_else(|| "off".to_owned(), |root| root.display().to_string()),
                ),
                ("threads", on(options.shows_threads())),
                ("processes_started_by_pages", "none, ever".to_owned()),
            ],
        ),
        (
            "you",
            vec![
                ("address", context.remote.to_string()),
                (
                    "counted_as",
                    match peer {
                        Peer::Local => "this machine",
                        Peer::Internal => "internal port",
                        Peer::Remote => "another machine",
                    }
                    .to_owned(),
                ),
            ],
        ),
    ]
}

fn section(html: &mut Html, name: &str, facts: &Facts) {
    html.element("section", &[Attr::Is("class", "card")], |html| {
        html.leaf("h3", "", name);
        html.element("table", &[Attr::Is("class", "pairs")], |html| {
            html.element("tbody", &[], |html| {
                for (name, value) in facts {
                    html.row(|html| {
                        html.leaf("th", "", name);
                        html.cell(value);
                    });
                }
            });
        });
    });
}

fn changes(html: &mut Html) {
    let changes = audit::changes();
    html.leaf("h2", "", "Changes made through the pages");
    if changes.is_empty() {
        html.paragraph("dim", "None so far.");
        return;
    }
    audit::table(html, &changes);
}

#[cfg(test)]
mod tests {
    use super::super::PageOptions;
    use super::super::tests::fake_server;

    #[test]
    fn it_says_who_may_do_what_and_not_the_token() {
        let mut server = fake_server();
        let text = server.text("/security");
        assert!(
            text.contains("protocols: baidu_std http\n") && text.contains("max_body_size: 67108864\n"),
            "{text}"
        );
        assert!(text.contains("changed_by: this machine under a loopback name\n"));
        assert!(text.contains("[you]\naddress: 127.0.0.1:41248\ncounted_as: this machine\n"));
        server.options = PageOptions::new().token("hush-hush").open_to_all().dir("/<script>");
        let text = server.text("/security");
        assert!(text.contains("seen_by: everybody") && text.contains("token: set\n"), "{text}");
        let html = server.html("/security");
        assert!(!text.contains("hush") && !html.contains("hush") && !html.contains("<script>"));
    }
}
