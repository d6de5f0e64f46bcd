//! `/connections`: the sockets that the server has taken and that the process's channels have made
//! (`spec/builtin-services.md` §8).

use std::fmt::Write as _;

use bvar::flag::Flag;
use serde_json::json;

use super::clock;
use super::context::{ConnectionInfo, PageContext, Traffic};
use super::frame;
use super::page::Page;
use super::reply::{PageReply, one_line};
use super::request::PageRequest;
use super::write::{Html, Url};
use crate::transport::Endpoint;

/// Connections that each list shows unless `givemeall` is asked for.
pub(super) static MAX_SHOWN: Flag<i32> =
    Flag::new("max_shown_connections", 1024, "Rows of each list of /connections, unless all are asked for")
        .validated(|max| *max >= 0);

/// The columns: heading and least width in the text form.
const COLUMNS: [(&str, usize); 15] = [
    ("CreatedTime", 26),
    ("RemoteSide", 19),
    ("SSL", 3),
    ("Protocol", 12),
    ("fd", 5),
    ("InBytes/s", 9),
    ("In/s", 6),
    ("InBytes/m", 10),
    ("In/m", 8),
    ("OutBytes/s", 10),
    ("Out/s", 6),
    ("OutBytes/m", 10),
    ("Out/m", 8),
    ("Rtt/Var(ms)", 11),
    ("SocketId", 0),
];
/// The columns of clients only, behind `RemoteSide`.
const CLIENT_COLUMNS: [(&str, usize); 3] = [("Local", 5), ("RecentErr", 9), ("nbreak", 6)];
/// The columns in front of those.
const COMMON_COLUMNS: usize = 2;

pub(super) struct Connections;

/// One of the two lists.
struct List {
    /// What its count is called.
    label: &'static str,
    count: usize,
    rows: Vec<ConnectionInfo>,
    is_client: bool,
}

impl Page for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn about(&self) -> &'static str {
        "List all connections"
    }

    fn serve(&self, context: &PageContext<'_>, request: &PageRequest) -> PageReply {
        let max = match request.query.has("givemeall") {
            true => usize::MAX,
            false => usize::try_from(MAX_SHOWN.get()).unwrap_or(0),
        };
        let server = context.server;
        let (channels, channel_count) = server.channel_connections(max);
        let lists = [
            List {
                label: "server_connection_count",
                count: server.connection_count(),
                rows: server.connections(max),
                is_client: false,
            },
            List { label: "channel_connection_count", count: channel_count, rows: channels, is_client: true },
        ];
        if request.wants_json() {
            json_form(&lists)
        } else if request.is_html() {
            frame::page(context, "connections", "/connections", |html| {
                lists.iter().for_each(|list| html_list(html, list));
            })
        } else {
            let texts: Vec<_> = lists.iter().map(text_list).collect();
            PageReply::text(texts.join("\n"))
        }
    }
}

fn columns(is_client: bool) -> Vec<(&'static str, usize)> {
    let (common, rest) = COLUMNS.split_at(COMMON_COLUMNS);
    let client = if is_client { &CLIENT_COLUMNS[..] } else { &[] };
    [common, client, rest].concat()
}

/// A row but for its last cell, the id.
fn cells(row: &ConnectionInfo, is_client: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let number = |number: Option<u64>| number.map_or_else(dash, |number| number.to_string());
    let protocol = row.protocol.unwrap_or("-");
    let protocol = match row.pooled {
        Some(count) => format!("{protocol}*{count}"),
        None => protocol.to_owned(),
    };
    let traffic = |part: fn(&Traffic) -> u64| number(row.traffic.as_ref().map(part));
    let millis = |micros: u32| f64::from(micros) / 1000.0;
    let rtt = row.rtt.map(|(rtt, var)| format!("{:.1}/{:.1}", millis(rtt), millis(var)));
    let mut cells = vec![
        row.created.map_or_else(|| "Broken".to_owned(), clock::stamp),
        one_line(&row.remote.to_string()),
    ];
    if is_client {
        cells.push(number(row.local.as_ref().and_then(Endpoint::port).map(u64::from)));
        cells.push(number(row.breaker.map(|(errors, _)| errors.into())));
        cells.push(number(row.breaker.map(|(_, times)| times.into())));
    }
    cells.extend([
        if row.is_secured { "Yes" } else { "No" }.to_owned(),
        protocol,
        row.descriptor.map_or_else(dash, |fd| fd.to_string()),
        traffic(|traffic| traffic.in_bytes_second),
        traffic(|traffic| traffic.in_messages_second),
        traffic(|traffic| traffic.in_bytes_minute),
        traffic(|traffic| traffic.in_messages_minute),
        traffic(|traffic| traffic.out_bytes_second),
        traffic(|traffic| traffic.out_messages_second),
        traffic(|traffic| traffic.out_bytes_minute),
        traffic(|traffic| traffic.out_messages_minute),
        rtt.unwrap_or_else(dash),
    ]);
    cells
}

fn text_list(list: &List) -> String {
    let mut out = format!("{}: {}\n", list.label, list.count);
    if list.rows.is_empty() {
        return out;
    }
    let columns = columns(list.is_client);
    let mut line = |cells: &[String]| {
        let padded = cells.iter().zip(&columns).map(|(cell, (_, width))| format!("{cell:<width$}"));
        _ = writeln!(out, "{}", padded.collect::<Vec<_>>().join("|").trim_end());
    };
    line(&columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>());
    for row in &list.rows {
        let mut cells = cells(row, list.is_client);
        cells.push(row.id.to_string());
        line(&cells);
    }
    out
}

fn html_list(html: &mut Html, list: &List) {
    html.leaf("h2", "", format_args!("{}: {}", list.label, list.count));
    if list.rows.is_empty() {
        return;
    }
    let headings: Vec<_> = columns(list.is_client).iter().map(|(heading, _)| *heading).collect();
    html.table(&headings, |html| {
        for row in &list.rows {
            html.row(|html| {
                let cells = cells(row, list.is_client);
                html.leaf("td", "time", &cells[0]);
                for (cell, heading) in cells.iter().zip(&headings).skip(1) {
                    let is_number = *heading == "fd" || heading.contains('/');
                    if is_number { html.number(cell) } else { html.cell(cell) }
                }
                html.link_cell(Url::below("/sockets", row.id), row.id);
            });
        }
    });
    if list.rows.len() < list.count {
        html.element("p", &[], |html| html.link(Url::page("/connections?givemeall"), "show all"));
    }
}

fn json_form(lists: &[List; 2]) -> PageReply {
    let rows = |list: &List| -> Vec<_> {
        let rows = list.rows.iter().map(|row| {
            let traffic = row.traffic.as_ref().map(|traffic| {
                json!({
                    "in_bytes_second": traffic.in_bytes_second,
                    "in_messages_second": traffic.in_messages_second,
                    "in_bytes_minute": traffic.in_bytes_minute,
                    "in_messages_minute": traffic.in_messages_minute,
                    "out_bytes_second": traffic.out_bytes_second,
                    "out_messages_second": traffic.out_messages_second,
                    "out_bytes_minute": traffic.out_bytes_minute,
                    "out_messages_minute": traffic.out_messages_minute,
                })
            });
            json!({
                "id": row.id,
                "created": row.created.map(clock::stamp),
                "remote": row.remote.to_string(),
                "local": row.local.as_ref().map(ToString::to_string),
                "ssl": row.is_secured,
                "protocol": row.protocol,
                "pooled": row.pooled,
                "fd": row.descriptor,
                "traffic": traffic,
                "rtt_us": row.rtt.map(|(rtt, _)| rtt),
                "rtt_var_us": row.rtt.map(|(_, var)| var),
                "recent_errors": row.breaker.map(|(errors, _)| errors),
                "isolated_times": row.breaker.map(|(_, times)| times),
            })
        });
        rows.collect()
    };
    PageReply::json(&json!({
        "server_connection_count": lists[0].count,
        "server_connections": rows(&lists[0]),
        "channel_connection_count": lists[1].count,
        "channel_connections": rows(&lists[1]),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{fake_server, get, text_of};
    use super::*;
    use std::time::SystemTime;

    fn connection(id: u64) -> ConnectionInfo {
        ConnectionInfo {
            id,
            created: Some(SystemTime::now()),
            remote: Endpoint::resolve("127.0.0.1:41248").unwrap(),
            local: Some(Endpoint::resolve("127.0.0.1:8002").unwrap()),
            is_secured: false,
            protocol: Some("http"),
            pooled: None,
            descriptor: Some(8),
            traffic: Some(Traffic {
                in_bytes_second: 5418,
                in_messages_second: 14,
                in_bytes_minute: 304_713,
                in_messages_minute: 851,
                out_bytes_second: 3962,
                out_messages_second: 14,
                out_bytes_minute: 216_293,
                out_messages_minute: 851,
            }),
            rtt: Some((100, 49)),
            breaker: None,
        }
    }

    #[test]
    fn the_text_has_the_columns_of_the_sample() {
        let mut server = fake_server();
        server.connections = vec![connection(17_179_869_269)];
        let text = server.text("/connections");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("server_connection_count: 1"));
        let sample = "CreatedTime               |RemoteSide         |SSL|Protocol    |fd   |InBytes/s|In/s  |InBytes/m |\
             In/m    |OutBytes/s|Out/s |OutBytes/m|Out/m   |Rtt/Var(ms)|SocketId";
        assert_eq!(lines.next(), Some(sample));
        let row = lines.next().unwrap();
        let (_, rest) = row.split_once('|').unwrap();
        let sample = "127.0.0.1:41248    |No |http        |8    |5418     |14    |304713    |851     |3962      |14    |\
             216293    |851     |0.1/0.0    |17179869269";
        assert_eq!(rest, sample);
        assert_eq!(row.find('|'), Some(26));
        assert_eq!(lines.collect::<Vec<_>>(), ["", "channel_connection_count: 0"]);
    }

    #[test]
    fn clients_have_three_columns_more_and_broken_ones_dashes() {
        let mut server = fake_server();
        let broken = ConnectionInfo {
            created: None,
            protocol: None,
            descriptor: None,
            traffic: None,
            rtt: None,
            breaker: Some((7, 2)),
            ..connection(5)
        };
        server.channels = vec![broken, ConnectionInfo { pooled: Some(3), ..connection(6) }];
        let text = server.text("/connections");
        assert!(text.contains("|RemoteSide         |Local|RecentErr|nbreak|SSL|"), "{text}");
        assert!(text.contains(
            "Broken                    |127.0.0.1:41248    |8002 |7        |2     |No |-           |-"
        ));
        assert!(text.contains("|http*3      |"));
        let html = server.html("/connections");
        assert!(html.contains("<th>nbreak</th>") && html.contains("href=\"/sockets/6\""));
    }

    #[test]
    fn the_list_is_cut_unless_all_is_asked_for() {
        let mut server = fake_server();
        server.connections = (0..2000).map(connection).collect();
        assert_eq!(server.text("/connections").lines().count(), 1024 + 4);
        assert_eq!(server.text("/connections?givemeall").lines().count(), 2000 + 4);
        assert!(server.html("/connections").contains("show all"));
        let json = text_of(&server.ask(&get("/connections?format=json")));
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["server_connection_count"], 2000);
        assert_eq!(json["server_connections"][1]["traffic"]["in_bytes_second"], 5418);
    }

    #[test]
    fn peers_with_strange_names_are_escaped() {
        let mut server = fake_server();
        let remote = Endpoint::Unix("/run/<script>\n".into());
        server.connections = vec![ConnectionInfo { remote, ..connection(1) }];
        assert!(!server.html("/connections").contains("<script>"));
        assert_eq!(server.text("/connections").lines().count(), 5);
    }
}
