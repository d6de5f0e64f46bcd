"""Opens every debug page of a server under load in a headless Chromium, and uses them as a person does.

    suite.py --server COMMAND | --at HOST:PORT [--only NAME,NAME]

Each `test_` function is one test. Beside what each checks itself, no test may leave an error in the browser's console,
or have asked any other host for anything.
"""

import http.client
import os
import re
import sys
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

import pages  # noqa: E402
from load import LightLoad  # noqa: E402
from server import Checks, chosen, parser, started  # noqa: E402
from webdriver import Browser  # noqa: E402

# Sets something that can be looked for, if it ever runs.
PAYLOADS = [
    "<script>window.pwned=1</script>",
    "\"><img src=x onerror=\"window.pwned=1\">",
    "'-(window.pwned=1)-'",
    "</title></textarea></script><svg onload=window.pwned=1>",
    "javascript:window.pwned=1",
]
# Something that has been drawn: a shape with extent in an SVG, or a pixel with colour on a canvas.
DRAWN = """
const inside = arguments[0];
for (const shape of inside.querySelectorAll('svg path, svg polyline, svg polygon, svg rect, svg line')) {
    const box = shape.getBBox();
    if (box.width + box.height > 20) return true;
}
for (const canvas of inside.querySelectorAll('canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    if (data.some((value, index) => index % 4 === 3 && value > 0)) return true;
}
return false;
"""


class Session:
    """What every test is given."""

    def __init__(self, browser, server, load, checks):
        self.browser, self.server, self.load, self.checks = browser, server, load, checks
        # Texts of console messages that a test asks for by what it does.
        # The suite reads canvases to see that something is drawn.
        self.expected_messages = ["willReadFrequently"]

    def go(self, path):
        self.browser.go(self.server.url + path)

    def is_drawn(self, element):
        return self.browser.run(DRAWN, element.as_argument())

    def has_run(self):
        """Whether a payload has run in the page."""
        return self.browser.run("return window.pwned === 1")

    def finish(self, name):
        """The checks after every test."""
        bad = [
            f"{level}: {text}"
            for level, text in self.browser.console()
            if level in ("SEVERE", "WARNING") and not any(expected in text for expected in self.expected_messages)
        ]
        self.checks.that(not bad, f"{name}: the console keeps no error", "\n".join(bad))
        elsewhere = []
        for address in self.browser.requests():
            parts = urllib.parse.urlsplit(address)
            if parts.scheme in ("http", "https", "ws", "wss", "ftp") and parts.netloc != self.server.address:
                elsewhere.append(address)
        self.checks.that(not elsewhere, f"{name}: nothing was asked of another host", elsewhere)


def test_html_pages(session):
    checks, browser = session.checks, session.browser
    for path, (heading, texts) in pages.HTML_PAGES.items():
        session.go(path)
        if heading:
            found = [element.text for element in browser.all(pages.HEADING)]
            checks.equal(found, [heading], f"{path}: its heading")
        text = browser.text()
        missing = [wanted for wanted in texts if wanted not in text]
        checks.that(not missing, f"{path}: shows {missing}", text)
        tabs = [tab.text for tab in browser.all(pages.TAB)]
        checks.that(set(pages.TABS) <= set(tabs), f"{path}: has the tabs", tabs)
        checks.that(len(text) > 40, f"{path}: has contents", text)


def test_text_pages(session):
    # What is no HTML names no icon, so that browsers look for one where users may have theirs.
    session.expected_messages.append("favicon.ico")
    for path, texts in pages.TEXT_PAGES.items():
        session.go(path)
        text = session.browser.text()
        missing = [wanted for wanted in texts if wanted not in text]
        session.checks.that(not missing, f"{path}: shows {missing}", text[:1000])


def test_no_page_is_left_out(session):
    session.go("/index?as_more")
    linked = {urllib.parse.urlsplit(address).path for address in session.browser.run(
        "return [...document.querySelectorAll('header nav a, main a')].map(link => link.href)"
    )}
    left_out = linked - pages.ALL_PAGES - {"/index"}
    session.checks.that(len(linked) > 20 and not left_out, "every page that is linked is opened by this suite", left_out)


def test_tabs_lead_to_their_pages(session):
    session.go("/")
    for name in pages.TABS:
        session.browser.one(pages.TAB, name).click()
        current = session.browser.one(pages.CURRENT_TAB).text
        session.checks.equal(current, name, f"the tab {name} is marked when it is open")


def test_status_draws_charts(session):
    browser = session.browser
    session.go("/status")
    opened = [element for element in browser.all(f"{pages.VARIABLE}[open]") if element.is_shown]
    session.checks.that(opened, "/status: charts of a method with calls are open")
    for element in opened:
        browser.wait(lambda element=element: session.is_drawn(element), f"a chart: {element.text[:60]!r}")
    browser.requests()
    polled = {}

    def polls():
        for address in browser.requests():
            if "series" in address:
                polled[address] = polled.get(address, 0) + 1
        return max(polled.values(), default=0) >= 2

    browser.wait(polls, "a chart to ask again for its series")


def test_status_counts(session):
    def count():
        session.go("/status?console=1")
        return int(re.search(r"^count: (\d+)$", session.browser.text(), re.M).group(1))

    before = count()
    session.load.wait_for_calls(50)
    after = count()
    session.checks.that(after > before, "/status: the count grows under load", f"{before}, then {after}")


def test_vars_search_and_chart(session):
    browser = session.browser
    session.go("/vars")
    everything = len(browser.all(pages.VARIABLES))
    browser.one(pages.VARIABLES_SEARCH).type("process_memory")

    def names():
        return browser.run(
            "return [...document.querySelectorAll(arguments[0] + ' .name')].map(e => e.textContent)", pages.VARIABLES
        )

    def only_those():
        found = names()
        return found and len(found) < everything and all("process_memory" in name for name in found)

    browser.wait(only_those, "the search to leave only its matches")
    row = browser.one(pages.VARIABLE, "process_memory_resident")
    browser.run("arguments[0].querySelector('summary').click()", row.as_argument())
    browser.wait(lambda: session.is_drawn(row), "the chart of process_memory_resident")
    session.go("/vars/process_cpu*?expand")
    for element in browser.all(pages.VARIABLE):
        browser.wait(lambda element=element: session.is_drawn(element), f"a chart: {element.text[:60]!r}")


def test_flag_is_set_through_its_form(session):
    browser, checks = session.browser, session.checks
    name = "max_shown_connections"
    session.go("/flags")
    browser.one(pages.FLAGS_FILTER).type("max_shown")
    shown = browser.wait(
        lambda: (rows := [row for row in browser.all(pages.FLAG_ROWS) if row.is_shown]) and len(rows) < 5 and rows,
        "the filter to leave a few rows",
    )
    checks.that(any(name in row.text for row in shown), "/flags: the filter finds the flag")

    def submit(value):
        session.go(f"/flags/{name}?setvalue&withform")
        field = browser.one(pages.FLAG_VALUE)
        field.clear()
        field.type(value)
        browser.one(pages.FLAG_SUBMIT).click()
        return browser.text()

    said = submit("1000")
    checks.that("1000" in said, "/flags: the form says what it has set", said)
    session.go(f"/flags/{name}")
    row = browser.one(pages.FLAG_ROWS, name).text
    checks.that("1000" in row and "default:1024" in row, "/flags: shows the new value and the default", row)
    session.expected_messages.append("status of 403")
    said = submit("-1")
    checks.that(name in said and "-1" in said, "/flags: a value that is not valid is refused", said)
    session.go(f"/flags/{name}")
    row = browser.one(pages.FLAG_ROWS, name).text
    checks.that("1000" in row, "/flags: a refused value changes nothing", row)
    submit("1024")


def test_connections(session):
    browser, checks = session.browser, session.checks
    session.go("/connections")
    rows = browser.all("main table tbody tr")
    checks.that(len(rows) >= 4, "/connections: a row for each connection of the load", len(rows))
    # One of them may be a connection of the browser's own that has ended since.
    text = ""
    for number in range(len(rows)):
        session.go("/connections")
        links = browser.all("main table a[href*='/sockets/']")
        links[min(number, len(links) - 1)].click()
        text = browser.text()
        if "remote_side" in text:
            break
    checks.that("remote_side" in text and "127.0.0.1" in text, "/sockets: a link leads to one socket", text)


def test_rpcz(session):
    browser, checks = session.browser, session.checks
    session.go("/rpcz")
    if "example.EchoService" not in browser.text() and browser.all(pages.RPCZ_ENABLE):
        browser.one(pages.RPCZ_ENABLE).click()
        session.load.wait_for_calls(200)
        session.go("/rpcz")
    browser.wait(
        lambda: session.go("/rpcz") or browser.all(pages.RPCZ_TRACE), "a traced call to be listed"
    )
    # The slow calls of the load take 20 ms.
    field = browser.one(pages.RPCZ_SEARCH)
    field.clear()
    field.type("15000")
    browser.one(pages.RPCZ_SUBMIT).click()
    browser.wait(lambda: "min_latency=15000" in browser.url, "the search to be in the address")
    # None may have been recorded yet.
    links = browser.wait(
        lambda: browser.all(pages.RPCZ_TRACE) or session.go("/rpcz?min_latency=15000"), "a slow call to be found"
    )
    everything = browser.text()
    links[0].click()
    browser.wait(lambda: "trace=" in browser.url, "the details of a trace")
    detail = browser.text()
    checks.that(detail != everything and "EchoService" in detail, "/rpcz: a call leads to its details", detail)
    bar = browser.one(pages.RPCZ_BAR)
    checks.that(bar.is_shown, "/rpcz: where the time went is drawn")
    for part in ("queue", "parse", "run", "write"):
        checks.that(part in detail, f"/rpcz: the details name `{part}`", detail)
    session.go("/rpcz?error_code=99999")
    checks.that(not browser.all(pages.RPCZ_TRACE), "/rpcz: no call has an error code that nobody gives")
    session.go("/rpcz?time=2000/01/01-00:00:00")
    checks.that(not browser.all(pages.RPCZ_TRACE), "/rpcz: no call was made in 2000")


def test_flame_graph_zooms(session):
    browser, checks = session.browser, session.checks
    session.go("/hotspots/cpu?seconds=2")
    browser.one(pages.FLAME, seconds=60)
    frames = browser.wait(lambda: browser.all(pages.FLAME_FRAME), "frames in the flame graph", 60)
    checks.that(len(frames) > 5, "/hotspots/cpu: the flame graph has frames", len(frames))
    widths = "return [...document.querySelectorAll(arguments[0])].map(e => Math.round(e.getBoundingClientRect().width))"
    before = browser.run(widths, pages.FLAME_FRAME)
    narrower = next((i for i, width in enumerate(before) if 40 < width < max(before) * 0.9), None)
    if not checks.that(narrower is not None, "/hotspots/cpu: a frame that is not the whole", before[:20]):
        return
    frames[narrower].click()
    browser.wait(lambda: browser.run(widths, pages.FLAME_FRAME) != before, "a click on a frame to zoom")


def test_markup_in_every_field_is_text(session):
    browser, checks = session.browser, session.checks
    session.expected_messages += ["status of 4", "status of 5"]
    places = [
        "/{}",
        "/vars/{}",
        "/vars/*{}*?dataonly",
        "/vars/process_uptime?series&{}={}",
        "/flags/{}",
        "/flags/max_shown_connections?setvalue={}",
        "/flags/{}?setvalue={}",
        "/flags/{}?setvalue&withform",
        "/rpcz?trace={}",
        "/rpcz?time={}&max_scan={}&min_latency={}&log_id={}&error_code={}",
        "/protobufs/{}",
        "/sockets/{}",
        "/bthreads/{}",
        "/ids/{}",
        "/dir/{}",
        "/connections?{}={}",
        "/status?{}={}",
        "/hotspots/{}",
        "/hotspots/cpu?view={}&base={}&display_type={}&seconds={}",
        "/fibers?{}={}",
        "/blocked?{}={}",
        "/index/{}",
        "/EchoService/{}",
        "/{}/Echo",
    ]
    for payload in PAYLOADS:
        quoted = urllib.parse.quote(payload, safe="")
        for place in places:
            session.go(place.replace("{}", quoted))
            if not checks.that(not session.has_run(), f"{place}: {payload!r} is shown as text"):
                continue
            # An element that came from the address would be one that no page has.
            made = browser.run("return document.querySelectorAll('img[src=x], svg[onload], [onerror]').length")
            checks.equal(made, 0, f"{place}: {payload!r} makes no element")


def test_markup_in_calls_is_text(session):
    """What callers send is shown by /rpcz and /connections, and in error texts."""
    for payload in PAYLOADS:
        quoted = urllib.parse.quote(payload, safe="")
        connection = http.client.HTTPConnection(session.server.host, session.server.port, timeout=30)
        for path in ("/EchoService/Echo", f"/EchoService/{quoted}", f"/{quoted}"):
            headers = {"Content-Type": payload, "User-Agent": payload, "log-id": payload, "x-request-id": payload}
            connection.request("POST", path, f'{{"message": "{payload}', headers)
            connection.getresponse().read()
        connection.close()
    for path in ("/rpcz", "/connections", "/status", "/vars", "/fibers", "/blocked", "/bthreads/all"):
        session.go(path)
        session.checks.that(not session.has_run(), f"{path}: what callers sent is shown as text")


def test_policy_forbids_foreign_code(session):
    """The pages' policy stops a script even if one came through."""
    session.expected_messages.append("Content Security Policy")
    session.go("/status")
    session.browser.run(
        "window.refused = [];"
        "document.addEventListener('securitypolicyviolation', event => window.refused.push(event.blockedURI));"
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'http://other.example/x.png'; document.body.append(i);"
    )
    session.checks.that(not session.browser.run("return window.pwned === 1"), "an inline script does not run")
    refused = "return window.refused.some(address => address.includes('other.example'))"
    session.browser.wait(lambda: session.browser.run(refused), "a foreign picture to be refused")
    # What was refused is in the list of what was asked for, too; it is taken out of it by this.
    session.browser.requests()


def main():
    options = parser("The debug pages in a browser").parse_args()
    tests = chosen(options, globals())
    checks = Checks()
    with started(options) as server, LightLoad(server) as load, Browser() as browser:
        load.wait_for_calls(200)
        browser.go("about:blank")
        browser.console(), browser.requests()
        for name, test in tests.items():
            session = Session(browser, server, load, checks)
            checks.run(name, test, session)
            session.finish(name)
        checks.that(not load.failures, "the load got its answers", load.failures[:3])
    checks.finish()


if __name__ == "__main__":
    main()
