//! `/flags`: what can be adjusted while the process runs (`spec/builtin-services.md` §7), and who did.

use std::fmt::Write as _;

use bvar::flag::{self, AnyFlag, SetError};
use serde_json::json;

use super::audit;
use super::clock;
use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{EPERM, PageReply, one_line};
use super::request::PageRequest;
use super::selection::Selection;
use super::write::{Attr, Html, Url};
use crate::error::{EINVAL, ENOMETHOD};

pub(super) struct Flags;

impl Page for Flags {
    fn name(&self) -> &'static str {
        "flags"
    }

    fn about(&self) -> &'static str {
        "List all flags; set one while the process runs"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        match request.query.get("setvalue") {
            None => list(context, request),
            Some(_) if request.query.has("withform") => form(context, request),
            Some(value) => set(context, request, value),
        }
    }
}

fn list(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    let Some(selection) = Selection::parse(&request.rest) else {
        return PageReply::error(context, request, EINVAL, "The list of flags is too long");
    };
    let flags: Vec<_> = flag::all().into_iter().filter(|flag| selection.has(flag.name())).collect();
    if request.wants_json() {
        return json_form(&flags);
    }
    if request.is_html() {
        return html_form(context, request, &flags);
    }
    let mut out =
        String::from("Name | Value | Description | Defined At\n---------------------------------------\n");
    for flag in flags {
        let mark = if flag.is_reloadable() { " (R)" } else { "" };
        let value = match flag.value_text() {
            value if value.is_empty() => " ".to_owned(),
            value => one_line(&value),
        };
        _ = write!(out, "{}{mark} | {value}", flag.name());
        if !flag.is_default() {
            _ = write!(out, " (default:{})", one_line(&flag.default_text()));
        }
        _ = writeln!(out, " | {} | {}", flag.description(), flag.defined_at());
    }
    PageReply::text(out)
}

fn json_form(flags: &[&'static dyn AnyFlag]) -> PageReply {
    let flags = flags.iter().map(|flag| {
        json!({
            "name": flag.name(),
            "type": flag.type_name(),
            "value": flag.value_text(),
            "default": flag.default_text(),
            "is_default": flag.is_default(),
            "reloadable": flag.is_reloadable(),
            "description": flag.description(),
            "defined_at": flag.defined_at(),
        })
    });
    let flags: Vec<_> = flags.collect();
    let changes = audit::changes();
    let changes: Vec<_> = changes
        .iter()
        .map(|change| json!({ "time": clock::stamp(change.time), "who": change.who, "what": change.what }))
        .collect();
    PageReply::json(&json!({ "flags": flags, "changes": changes }))
}

fn html_form(context: &PageContext<'_>, request: &PageRequest, flags: &[&'static dyn AnyFlag]) -> PageReply {
    frame::page(context, "flags", "/flags", |html| {
        if context.server.options().has_immutable_flags() {
            html.paragraph("notice", "The flags of this server cannot be changed through this page.");
        }
        html.element("form", &[Attr::Is("class", "tools"), Attr::Is("role", "search")], |html| {
            let attrs = [
                Attr::Is("type", "search"),
                Attr::Is("data-filter", "flags"),
                Attr::Is("placeholder", "Filter flags"),
                Attr::Is("aria-label", "Filter flags"),
            ];
            html.void("input", &attrs);
        });
        if flags.is_empty() {
            html.element("p", &[Attr::Is("class", "notice")], |html| {
                html.text("No flag is named ").text(&request.rest).text(".");
            });
        }
        html.element("div", &[Attr::Is("id", "flags")], |html| {
            html.table(&["Name", "Value", "Description", "Defined At"], |html| {
                flags.iter().for_each(|flag| row(html, *flag));
            });
        });
        let changes = audit::changes();
        if !changes.is_empty() {
            html.leaf("h2", "", "Changes");
            audit::table(html, &changes);
        }
    })
}

fn row(html: &mut Html, flag: &'static dyn AnyFlag) {
    html.row(|html| {
        html.element("td", &[], |html| {
            html.leaf("code", "", flag.name());
            if flag.is_reloadable() {
                html.text(" ");
                let attrs = [
                    Attr::Url("href", Url::below("/flags", flag.name()).flag("setvalue").flag("withform")),
                    Attr::Is("title", "Change it"),
                ];
                html.element("a", &attrs, |html| _ = html.text("(R)"));
            }
        });
        html.element("td", &[], |html| {
            if flag.is_default() {
                html.text(flag.value_text());
            } else {
                html.leaf("b", "changed", flag.value_text());
                html.text(" (default:").text(flag.default_text()).text(")");
            }
        });
        html.cell(flag.description());
        html.leaf("td", "dim", flag.defined_at());
    });
}

/// The flag that is to be set, or why it cannot be.
fn settable(context: &PageContext<'_>, request: &PageRequest) -> Result<&'static dyn AnyFlag, PageReply> {
    let refuse = |code, text: String| Err(PageReply::error(context, request, code, text));
    if request.rest.is_empty() {
        return refuse(ENOMETHOD, "Say which flag: /flags/NAME?setvalue=VALUE".to_owned());
    }
    let Some(flag) = flag::find(&request.rest) else {
        return refuse(ENOMETHOD, format!("There is no flag `{}'", request.rest));
    };
    if context.server.options().has_immutable_flags() {
        return refuse(EPERM, "The flags of this server are immutable".to_owned());
    }
    if !flag.is_reloadable() {
        return refuse(
            EPERM,
            format!("`{}' is not reloadable: it is set when the process starts", flag.name()),
        );
    }
    Ok(flag)
}

fn set(context: &PageContext<'_>, request: &PageRequest, value: &str) -> PageReply {
    let flag = match settable(context, request) {
        Ok(flag) => flag,
        Err(reply) => return reply,
    };
    if let Err(denied) = context.may_change(request) {
        return PageReply::error(context, request, EPERM, denied.hint());
    }
    let (name, before) = (flag.name(), one_line(&flag.value_text()));
    let result = flag.set_text(value);
    let value = one_line(value);
    match result {
        Ok(()) => audit::record(context, format!("flag {name}: {before} -> {value}")),
        Err(error) => {
            let why = match &error {
                SetError::Invalid { why, .. } => (*why).to_owned(),
                other => other.to_string(),
            };
            return PageReply::error(
                context,
                request,
                EPERM,
                format!("Fail to set `{name}' to {value}: {why}"),
            );
        }
    }
    let text = format!("Set `{name}' to {value}");
    if !request.is_html() {
        return PageReply::text(text);
    }
    frame::page(context, "flags", "/flags", |html| {
        html.paragraph("notice good", &text);
        html.link(Url::page("/flags"), "back to flags");
    })
}

fn form(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    let flag = match settable(context, request) {
        Ok(flag) => flag,
        Err(reply) => return reply,
    };
    let name = flag.name();
    frame::page(context, "flags", "/flags", |html| {
        let action = Attr::Url("action", Url::below("/flags", name));
        html.element("form", &[Attr::Is("method", "post"), Attr::Is("class", "card"), action], |html| {
            html.element("h3", &[], |html| _ = html.text("Set ").text(name));
            html.paragraph("dim", flag.description());
            html.element("label", &[], |html| {
                html.text("Value ");
                let value = flag.value_text();
                let attrs = [
                    Attr::Is("name", "setvalue"),
                    Attr::Is("autocomplete", "off"),
                    Attr::Text("value", &value),
                ];
                html.void("input", &attrs);
            });
            let default = flag.default_text();
            html.element("p", &[Attr::Is("class", "dim")], |html| {
                html.text(flag.type_name()).text(", default ").text(if default.is_empty() {
                    "empty"
                } else {
                    &default
                });
            });
            if context.may_change(request).is_err() {
                html.element("label", &[], |html| {
                    html.text("Token ");
                    let attrs = [
                        Attr::Is("name", "token"),
                        Attr::Is("type", "password"),
                        Attr::Is("autocomplete", "off"),
                    ];
                    html.void("input", &attrs);
                });
            }
            html.element("button", &[], |html| _ = html.text("Set"));
            html.text(" ");
            html.link(Url::page("/flags"), "back to flags");
        });
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{browse, fake_server, get, text_of};
    use super::*;
    use bvar::flag::Flag;

    static LIMIT: Flag<i32> = Flag::new("page_test_limit", 100, "A limit, positive").validated(|n| *n > 0);
    static GREETING: Flag<String> = Flag::new("page_test_greeting", "hello", "Any <text>").reloadable();
    static FIXED: Flag<bool> = Flag::new("page_test_fixed", false, "Not while running");

    fn register() {
        flag::register(&[&LIMIT, &GREETING, &FIXED]);
    }

    #[test]
    fn the_list_has_brpcs_columns() {
        register();
        let server = fake_server();
        let text = server.text("/flags/page_test_f*;no_such");
        assert_eq!(
            text,
            "Name | Value | Description | Defined At\n---------------------------------------\n\
             page_test_fixed | false | Not while running | rpc/src/builtin/flags.rs\n"
        );
        assert!(server.text("/flags/page_test_lim$t").contains("page_test_limit (R) | "));
        assert_eq!(server.text("/flags/no_such").lines().count(), 2);
        assert_eq!(server.ask(&get(&format!("/flags/{}", "*a".repeat(1000)))).status, 400);
        assert!(server.html("/flags").contains("/flags/page_test_limit?setvalue&amp;withform"));
        assert!(server.html("/flags/%3Cscript%3E").contains("No flag is named &lt;script&gt;."));
    }

    #[test]
    fn setting_answers_with_brpcs_codes_and_is_recorded() {
        register();
        let mut server = fake_server();
        let ask = |server: &super::super::tests::FakeServer, target: &str| {
            let reply = server.ask(&get(target));
            (reply.status, text_of(&reply))
        };
        assert_eq!(
            ask(&server, "/flags/page_test_limit?setvalue=50"),
            (200, "Set `page_test_limit' to 50".into())
        );
        assert_eq!(LIMIT.get(), 50);
        assert!(server.text("/flags/page_test_limit").contains("page_test_limit (R) | 50 (default:100) | "));
        let (status, text) = ask(&server, "/flags/page_test_limit?setvalue=-3");
        assert!(
            status == 403 && text.starts_with("[127.0.0.1:8002][E1]Fail to set `page_test_limit' to -3"),
            "{text}"
        );
        assert_eq!(ask(&server, "/flags/page_test_fixed?setvalue=true").0, 403);
        assert_eq!(ask(&server, "/flags/page_test_?setvalue=1").0, 404);
        assert_eq!(ask(&server, "/flags/page_test_*?setvalue=1").0, 404);
        assert_eq!(ask(&server, "/flags?setvalue=1").0, 404);
        assert!(audit::changes().iter().any(
            |change| change.what == "flag page_test_limit: 100 -> 50" && change.who == "127.0.0.1:41248"
        ));
        server.options = PageOptions::new().immutable_flags();
        assert_eq!(ask(&server, "/flags/page_test_limit?setvalue=51").0, 403);
        assert_eq!(LIMIT.get(), 50);
    }

    #[test]
    fn another_site_sets_nothing() {
        register();
        let server = fake_server();
        let mut request = browse("/flags/page_test_greeting?setvalue=evil");
        request.is_cross_site = true;
        assert_eq!(server.ask(&request).status, 403);
        let mut request = browse("/flags/page_test_greeting?setvalue=evil");
        request.host = "evil.example".to_owned();
        assert_eq!(server.ask(&request).status, 403);
        assert_ne!(GREETING.get(), "evil");
    }

    #[test]
    fn values_are_escaped() {
        register();
        let server = fake_server();
        let html = server.html("/flags/page_test_greeting?setvalue=%3Cscript%3E%22'%0Aforged");
        assert!(html.contains("to &lt;script&gt;&quot;&#39;\\nforged"), "{html}");
        assert!(!server.html("/flags").contains("<script>"));
        assert!(!server.html("/flags/page_test_greeting?setvalue&withform").contains("<script>"));
        assert!(
            server.text("/flags/page_test_greeting").contains("| <script>\"'\\nforged (default:hello) |")
        );
    }

    use super::super::PageOptions;
}
