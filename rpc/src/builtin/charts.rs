//! What the script turns into charts: a name and a value that open to a live chart. Without the script they are a list.

use std::fmt::Display;

use super::write::{Attr, Html, Url};

/// What a chart shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chart {
    /// One or several lines over time, asked for each second.
    Trend,
    /// Latency over the share of calls.
    Cdf,
}

/// A variable: its name and value, and the chart of its history below it, opened at once if `open`.
pub(crate) fn variable(
    html: &mut Html,
    label: impl Display,
    value: impl Display,
    name: &str,
    chart: Chart,
    open: bool,
) {
    let source = Url::below("/vars", name).flag("series");
    let kind = match chart {
        Chart::Trend => "trend",
        Chart::Cdf => "cdf",
    };
    let mut attrs =
        vec![Attr::Is("class", "var"), Attr::Url("data-series", source), Attr::Is("data-chart", kind)];
    attrs.extend(open.then_some(Attr::Flag("open")));
    html.element("details", &attrs, |html| {
        html.element("summary", &[], |html| {
            html.leaf("span", "name", label);
            html.leaf("span", "value", value);
        });
        html.element("div", &[Attr::Is("class", "chart")], |_| {});
    });
}

/// A variable without a chart.
pub(crate) fn plain(html: &mut Html, label: impl Display, value: impl Display) {
    html.element("div", &[Attr::Is("class", "var plain")], |html| {
        html.leaf("span", "name", label);
        html.leaf("span", "value", value);
    });
}
