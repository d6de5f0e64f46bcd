//! `/vars`: the exposed variables, and their history as charts (`spec/builtin-services.md` §5).

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bvar::{DisplayFilter, SeriesError, Trend, Variable};

use super::charts::{self, Chart};
use super::context::PageContext;
use super::frame;
use super::page::Page;
use super::reply::{HTML, JSON, PageReply};
use super::request::PageRequest;
use super::selection::Selection;
use super::write::{Attr, Html, Url};
use crate::error::{EINTERNAL, EINVAL, ENOMETHOD};

/// Variables that one page shows to a browser; scripts get all.
const HTML_VARIABLES_MAX: usize = 5000;

pub(super) struct Vars;

impl Page for Vars {
    fn name(&self) -> &'static str {
        "vars"
    }

    fn about(&self) -> &'static str {
        "List all exposed variables"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        if request.query.has("series") {
            return series(context, request);
        }
        let Some(selection) = Selection::parse(&request.rest) else {
            return PageReply::error(context, request, EINVAL, "The list of variables is too long");
        };
        if request.wants_json() {
            return json_form(&selection);
        }
        let is_piece = request.query.has("dataonly");
        let reply = match request.is_html() || is_piece {
            true => html_form(context, request, &selection, is_piece),
            false => text_form(&selection),
        };
        let missing = || format!("Fail to find any bvar by `{}'", request.rest);
        reply.unwrap_or_else(|| PageReply::error(context, request, ENOMETHOD, missing()))
    }
}

/// Calls `show` for what is selected; whether there was any.
fn select(form: DisplayFilter, selection: &Selection, mut show: impl FnMut(&str, &dyn Variable)) -> bool {
    let mut found = matches!(selection, Selection::All);
    let _ = bvar::for_each(form, |name, variable| {
        if selection.has(name) {
            found = true;
            show(name, variable);
        }
        ControlFlow::Continue(())
    });
    found
}

/// Asks a variable, whose answer may be made by code of the user: none if that panics.
fn ask<T>(question: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(question)).ok()
}

fn described(variable: &dyn Variable) -> String {
    let describe = || {
        let mut text = String::new();
        variable.describe(&mut text, true).ok().map(|()| text)
    };
    ask(describe).flatten().unwrap_or_else(|| "(it does not tell)".to_owned())
}

fn text_form(selection: &Selection) -> Option<PageReply> {
    let mut out = String::new();
    let found = select(DisplayFilter::Text, selection, |name, variable| {
        _ = write!(out, "{name} : {}\r\n", super::reply::lines(&described(variable)));
    });
    found.then(|| PageReply::text(out))
}

fn json_form(selection: &Selection) -> PageReply {
    let mut values = serde_json::Map::new();
    select(DisplayFilter::Text, selection, |name, variable| {
        let value = ask(|| variable.value()).map_or(serde_json::Value::Null, |value| json_value(&value));
        values.insert(name.to_owned(), value);
    });
    PageReply::json(&serde_json::Value::Object(values))
}

fn json_value(value: &bvar::Value) -> serde_json::Value {
    match value {
        bvar::Value::Int(n) => (*n).into(),
        bvar::Value::Uint(n) => (*n).into(),
        bvar::Value::Float(n) => (*n).into(),
        bvar::Value::Vector(values) => values.iter().map(json_value).collect(),
        other => other.to_string().into(),
    }
}

fn series(context: &PageContext<'_>, request: &PageRequest) -> PageReply {
    let name = &request.rest;
    match bvar::series(name) {
        Ok(json) => PageReply::new(JSON, json),
        Err(SeriesError::Unknown) => {
            PageReply::error(context, request, ENOMETHOD, format!("Fail to find any bvar by `{name}'"))
        }
        Err(_) => PageReply::error(context, request, EINTERNAL, format!("`{name}' keeps no history")),
    }
}

/// What is drawn of a variable.
fn chart_of(variable: &dyn Variable) -> Option<Chart> {
    if variable.plot().is_some() {
        return Some(Chart::Cdf);
    }
    if variable.trend() == Trend::None {
        return None;
    }
    let value = variable.value();
    (value.is_number() || matches!(value, bvar::Value::Vector(_))).then_some(Chart::Trend)
}

fn html_form(
    context: &PageContext<'_>,
    request: &PageRequest,
    selection: &Selection,
    is_piece: bool,
) -> Option<PageReply> {
    let expand = request.query.has("expand");
    let mut rows = Vec::new();
    let mut total = 0;
    let found = select(DisplayFilter::Html, selection, |name, variable| {
        total += 1;
        if rows.len() < HTML_VARIABLES_MAX {
            let chart = ask(|| chart_of(variable)).flatten();
            rows.push((name.to_owned(), described(variable), chart));
        }
    });
    if !found && !is_piece {
        return None;
    }
    let open = expand || rows.len() == 1;
    let list = |html: &mut Html| {
        for (name, value, chart) in &rows {
            let shown = if *chart == Some(Chart::Cdf) { "distribution" } else { value };
            match chart {
                Some(chart) => charts::variable(html, name, shown, name, *chart, open),
                None => charts::plain(html, name, shown),
            }
        }
        if rows.is_empty() {
            html.paragraph("notice", "No variable has such a name.");
        }
        if total > rows.len() {
            html.element("p", &[Attr::Is("class", "notice")], |html| {
                html.text(total - rows.len())
                    .text(" more are not shown; narrow the search, or ask for the text form.");
            });
        }
    };
    if is_piece {
        let mut html = Html::fragment();
        list(&mut html);
        return Some(PageReply::new(HTML, html.finish()));
    }
    Some(frame::page(context, "vars", "/vars", |html| {
        let action = Attr::Url("action", Url::page("/vars"));
        html.element("form", &[Attr::Is("class", "tools"), Attr::Is("role", "search"), action], |html| {
            let attrs = [
                Attr::Is("type", "search"),
                Attr::Is("data-live", "vars"),
                Attr::Is("placeholder", "Search variables: words, * and $ as wildcards"),
                Attr::Is("aria-label", "Search variables"),
                Attr::Is("autocomplete", "off"),
                Attr::Text("value", &request.rest),
            ];
            html.void("input", &attrs);
            html.link(Url::page("/vars?expand"), "open all charts");
        });
        html.element("div", &[Attr::Is("id", "vars")], list);
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fake_server, get, text_of};
    use super::*;
    use bvar::{PassiveStatus, Status};

    #[test]
    fn the_text_has_brpcs_form() {
        let _number = Status::new(58i64).expose("vars_page_test_number").unwrap();
        let _text = Status::new("unknown \"x\"".to_owned()).expose("vars_page_test_text").unwrap();
        let server = fake_server();
        assert_eq!(server.text("/vars/vars_page_test_number"), "vars_page_test_number : 58\r\n");
        assert_eq!(
            server.text("/vars/vars_page_t$st_t*,vars_page_test_number;no_such"),
            "vars_page_test_number : 58\r\nvars_page_test_text : \"unknown \\\"x\\\"\"\r\n"
        );
        assert!(server.text("/vars").contains("vars_page_test_number : 58\r\n"));
        let missing = server.ask(&get("/vars/no_such_var"));
        assert_eq!(missing.status, 404);
        assert_eq!(text_of(&missing), "[127.0.0.1:8002][E1002]Fail to find any bvar by `no_such_var'");
        assert_eq!(server.ask(&get("/vars/no_such_var?series")).status, 404);
        assert_eq!(server.ask(&get("/vars/vars_page_test_text?series")).status, 500);
        assert_eq!(server.ask(&get(&format!("/vars/{}", "*a".repeat(1000)))).status, 400);
        let json = text_of(&server.ask(&get("/vars/vars_page_test_*?format=json")));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["vars_page_test_number"], 58);
    }

    #[test]
    fn a_variable_that_panics_spoils_no_page() {
        let _bad = PassiveStatus::new(|| -> i64 { panic!("on purpose") }).expose("vars_page_panics").unwrap();
        let server = fake_server();
        assert_eq!(server.text("/vars/vars_page_panics"), "vars_page_panics : (it does not tell)\r\n");
        assert!(server.html("/vars/vars_page_panics").contains("(it does not tell)"));
        assert_eq!(
            text_of(&server.ask(&get("/vars/vars_page_panics?format=json"))),
            "{\"vars_page_panics\":null}"
        );
    }

    #[test]
    fn values_and_searches_are_escaped() {
        let _evil = PassiveStatus::new(|| "\"><script>alert(1)</script>".to_owned())
            .expose("vars_page_evil")
            .unwrap();
        let server = fake_server();
        let html = server.html("/vars/vars_page_evil;%3Cscript%3E");
        assert!(html.contains("&lt;script&gt;alert(1)") && !html.contains("<script>"), "{html}");
        let piece = server.html("/vars/*page_evil*?dataonly");
        assert!(piece.contains("vars_page_evil") && !piece.contains("<html"), "{piece}");
        assert!(server.html("/vars/nothing_%3Cscript%3E?dataonly").contains("No variable"));
        let missing = server.ask(&super::super::tests::browse("/vars/%3Cscript%3E"));
        assert!(!text_of(&missing).contains("<script>"));
    }
}
