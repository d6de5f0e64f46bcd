"""What an operator's scripts for brpc read with curl, looked for in ours.

    suite.py SAMPLES --server COMMAND | --at HOST:PORT [--only NAME,NAME]

SAMPLES is the folder with pages of a real brpc. Names are taken from them (labels, variables, metrics, flags, columns,
steps of a trace) and must be found in what curl gets here, in the same form, unless `exceptions.py` says why not.
"""

import fnmatch
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))

import exceptions  # noqa: E402
from load import LightLoad  # noqa: E402
from server import Checks, chosen, parser, started  # noqa: E402

# The port in the names of the samples.
SAMPLE_PORT = 8002
# What a window over the last seconds may take to have something in it.
WINDOW_SECONDS = 15
# Tells curl's own words from the page.
TAIL = "\n@status %{http_code} %{content_type}"


class Suite:
    def __init__(self, samples, server, load, checks):
        self.samples, self.server, self.load, self.checks = samples, server, load, checks

    def sample(self, name):
        with open(os.path.join(self.samples, name), encoding="utf-8", newline="") as file:
            return file.read().replace(f"rpc_server_{SAMPLE_PORT}", f"rpc_server_{self.server.port}")

    def curl(self, path, status=200, content_type="text/plain", arguments=()):
        """The body that curl gets. `content_type` None: any, or none."""
        command = ["curl", "--silent", "--show-error", "--max-time", "30", "--globoff", "-w", TAIL, *arguments]
        done = subprocess.run([*command, self.server.url + path], capture_output=True, check=False)
        text = done.stdout.decode("utf-8", "replace")
        body, _, tail = text.rpartition("\n@status ")
        code, _, kind = tail.partition(" ")
        said = f"{tail!r} {done.stderr.decode()} {body[:300]}"
        self.checks.that(code == str(status), f"{path}: status {status}", said)
        if content_type:
            self.checks.that(kind.split(";")[0] == content_type, f"{path}: {content_type}", said)
        return body

    def names(self, what, wanted, found, allowed):
        """All of `wanted` are in `found`, but for those that `allowed` names; each of its patterns is of use."""
        missing = sorted(set(wanted) - set(found))
        excused = {name for name in missing if any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed)}
        unexcused = [name for name in missing if name not in excused]
        print(f"   {what}: {len(set(wanted))} names, {len(missing) - len(unexcused)} of them excepted")
        self.checks.that(not unexcused, f"{what}: {len(unexcused)} names are missing", " ".join(unexcused))
        for pattern in allowed:
            is_used = any(fnmatch.fnmatchcase(name, pattern) for name in excused)
            self.checks.that(is_used, f"{what}: the exception {pattern!r} is of no use")


# ---- How to read each page


def status_rows(text):
    return re.findall(r"^([a-z_0-9]+): ", text, re.M)


def variables(text):
    return re.findall(r"^([A-Za-z_0-9]+) : ", text, re.M)


def metrics(text):
    return re.findall(r"^# TYPE (\S+) \S+", text, re.M)


def samples_of_metrics(text):
    """Names with the labels, without values."""
    return re.findall(r"^([a-zA-Z_:][^\s]*) \S+$", text, re.M)


def flags(text):
    return re.findall(r"^(\w+)(?: \(R\))? \| ", text.partition("---\n")[2], re.M)


def index_paths(text):
    return [match.split("?")[0] for match in re.findall(r"^ *(/\S*) : ", text, re.M)]


# ---- The pages


def test_index(suite):
    text = suite.curl("/index")
    skip = {"/flags/port", "/flags/guard_page_size;help*", "/vars/rpc_num_sockets"}
    skip.add("/vars/rpc_server*_count;iobuf_blo$k_*")  # examples, which are different ones here
    wanted = [path for path in index_paths(suite.sample("index.txt")) if path not in skip]
    suite.names("/index", wanted, index_paths(text), exceptions.INDEX)
    suite.checks.equal(suite.curl("/"), text, "/ is /index for curl")
    is_shown = "/EchoService" in text or "ServiceName/MethodName" in text
    suite.checks.that(is_shown, "/index: shows a call with curl", text)


def test_status(suite):
    deadline = time.monotonic() + WINDOW_SECONDS
    text = suite.curl("/status")
    while re.search("^qps: 0$", text, re.M) and time.monotonic() < deadline:
        suite.load.wait_for_calls(50)  # a window begins empty
        text = suite.curl("/status")
    wanted = status_rows(suite.sample("status.txt"))
    suite.checks.that("[example.EchoService]" in text.splitlines(), "/status: the service's line", text)
    suite.checks.that(
        "Echo (EchoRequest) returns (EchoResponse)" in text, "/status: the method's line", text
    )
    suite.names("/status", wanted, status_rows(text), {})
    server, _, services = text.partition("[example.EchoService]")
    method = services.partition("\n[")[0]
    suite.checks.equal(status_rows(server), wanted[:5], "/status: the server's rows are brpc's")
    # The last belongs to a limiter.
    suite.checks.that(
        status_rows(method) in (wanted[5:], wanted[5:-1]), "/status: the method's rows are brpc's", status_rows(method)
    )
    numbers = dict(re.findall(r"^([a-z_0-9]+): (.*)$", method, re.M))
    for name in ("count", "qps", "latency", "latency_99", "max_latency"):
        suite.checks.that(float(numbers.get(name, 0)) > 0, f"/status: {name} of a loaded method is above 0", numbers)


def test_vars(suite):
    text = suite.curl("/vars")
    ours, theirs = variables(text), suite.sample("vars.txt")
    suite.names("/vars", variables(theirs), ours, exceptions.VARIABLES)
    suite.checks.equal(ours, sorted(ours), "/vars: sorted")
    # The value of some goes over several lines; the ends of the others tell.
    suite.checks.that(
        all(line.endswith("\r") for line in text.split("\n") if re.match(r"[a-z_0-9]+ : [0-9.]+\r?$", line)),
        "/vars: lines end with CR LF",
    )
    strings = {name for name in re.findall(r'^(\w+) : "', theirs, re.M)} & set(ours)
    for name in sorted(strings):
        suite.checks.that(re.search(rf'^{name} : "', text, re.M), f"/vars: {name} is quoted, as in brpc")
    text = suite.curl("/vars/rpc_server*;process_*")
    found = variables(text)
    suite.checks.that(
        found and all(re.match("rpc_server|process_", name) for name in found), "/vars: wildcards choose", found
    )
    text = suite.curl("/vars/process_u$time,process_username")
    suite.checks.equal(variables(text), ["process_uptime", "process_username"], "/vars: $ and a comma")
    text = suite.curl("/vars/no_such_var", status=404)
    suite.checks.that("no_such_var" in text, "/vars: a name that is none is named", text)


def test_series(suite):
    prefix = f"rpc_server_{suite.server.port}_example_echo_service_echo"
    for row, labels in (("qps", ["trend"]), ("latency_cdf", ["cdf"]), ("latency_percentiles", None)):
        sample = json.loads(suite.sample(f"vars_series_{row.removeprefix('latency_')}.json"))
        text = suite.curl(f"/vars/{prefix}_{row}?series", content_type="application/json")
        try:
            ours = json.loads(text)
        except ValueError:
            suite.checks.that(False, f"{row}: JSON", text)
            continue
        both = [each if isinstance(each, list) else [each] for each in (ours, sample)]
        shape = [[(each["label"], len(each["data"])) for each in one] for one in both]
        suite.checks.equal(shape[0], shape[1], f"{row}: labels and numbers of points")
        indexes = [[point[0] for point in one[0]["data"]] for one in both]
        suite.checks.equal(indexes[0], indexes[1], f"{row}: indexes of points")
        if labels:
            suite.checks.equal([each["label"] for each in both[0]], labels, f"{row}: label")
    suite.curl("/vars/no_such_var?series", status=404)
    suite.curl("/vars/process_username?series", status=500)


def test_metrics(suite):
    text = suite.curl("/brpc_metrics")
    sample = suite.sample("brpc_metrics.txt")
    suite.names("/brpc_metrics", metrics(sample), metrics(text), exceptions.METRICS)
    summary = f"rpc_server_{suite.server.port}_example_echo_service_echo"
    wanted = [name for name in samples_of_metrics(sample) if name.startswith(summary) and "_latency" not in name]
    suite.names("/brpc_metrics, samples of the method", wanted, samples_of_metrics(text), exceptions.SAMPLES)


def test_flags(suite):
    text = suite.curl("/flags")
    sample = suite.sample("flags.txt")
    suite.checks.equal(text.splitlines()[0], sample.splitlines()[0], "/flags: the columns")
    suite.checks.that(re.fullmatch("-+", text.splitlines()[1]), "/flags: a line of dashes")
    suite.names("/flags", flags(sample), flags(text), exceptions.FLAGS)
    reloadable = {line.split(" (R) | ")[0] for line in sample.splitlines() if " (R) | " in line}
    ours = {line.split(" (R) | ")[0] for line in text.splitlines() if " (R) | " in line}
    shared = reloadable & set(flags(text))
    suite.names("/flags, those that brpc takes while running", shared, ours, exceptions.RELOADABLE)
    defaults = [
        dict(re.findall(r"^(\w+)(?: \(R\))? \| (.*?)(?: \(default:.*\))? \| ", each, re.M)) for each in (sample, text)
    ]
    differing = {
        name: f"{defaults[1][name]}, brpc: {value}"
        for name, value in defaults[0].items()
        if name in defaults[1] and defaults[1][name].strip() != value.strip()
    }
    print(f"   /flags: other values than brpc's: {differing}")
    name = "max_shown_connections"
    suite.checks.equal(suite.curl(f"/flags/{name}?setvalue=50").strip(), f"Set `{name}' to 50", "/flags: setting")
    text = suite.curl("/flags/max_sh*;no_such")
    suite.checks.that(f"{name} (R) | 50 (default:1024) | " in text, "/flags: a changed value and its default", text)
    suite.curl(f"/flags/{name}?setvalue=-3", status=403)
    suite.curl("/flags/no_such_flag?setvalue=3", status=404)
    suite.curl(f"/flags/{name}?setvalue=1024")
    hostile = ["-H", "Origin: http://other.example", "-H", "Sec-Fetch-Site: cross-site"]
    suite.curl(f"/flags/{name}?setvalue=7", status=403, arguments=hostile)
    suite.curl(f"/flags/{name}?setvalue=7", status=403, arguments=["-H", "Host: other.example"])
    suite.checks.that(f"{name} (R) | 1024 | " in suite.curl(f"/flags/{name}"), "/flags: others changed nothing")


def test_connections(suite):
    text, sample = suite.curl("/connections"), suite.sample("connections.txt")
    columns = [line for line in sample.splitlines() if line.startswith("CreatedTime")]
    ours = [line for line in text.splitlines() if line.startswith("CreatedTime")]
    suite.checks.equal(ours[:1], columns[:1], "/connections: the columns, and how wide they are")
    labels = [re.findall(r"^(\w+): \d+$", each, re.M) for each in (text, sample)]
    suite.checks.equal(labels[0], labels[1], "/connections: the two counts")
    rows = [line.split("|") for line in text.splitlines() if re.match(r"\d{4}/\d\d/\d\d-\d\d:\d\d:\d\d\.\d{6}", line)]
    if not suite.checks.that(len(rows) >= 4, "/connections: a row for each connection of the load", text):
        return
    suite.checks.that(all(len(row) == 15 for row in rows), "/connections: 15 cells in a row", rows)
    suite.checks.that(any(row[3].strip() == "http" for row in rows), "/connections: the protocol's name", rows)
    suite.checks.that(any(int(row[6]) > 0 for row in rows), "/connections: messages of the last second", rows)
    number = rows[0][14].strip()
    text = suite.curl(f"/sockets/{number}")
    wanted = re.findall(r"^(\w+)=", suite.sample("sockets_one.txt"), re.M)
    ours = re.findall(r"^(\w+)=", text, re.M)
    suite.names("/sockets/ID", wanted, ours, exceptions.SOCKET)
    suite.curl("/sockets/abc", status=404)


def test_rpcz(suite):
    said = suite.curl("/rpcz/enable")
    suite.checks.equal(said.strip(), "rpcz is enabled", "/rpcz/enable")
    suite.load.wait_for_calls(300)
    line = re.compile(
        r"^\d{4}/\d\d/\d\d-\d\d:\d\d:\d\d\.\d{6} +\.? *(\d+) ([SC]) trace=([0-9a-f]+) span=([0-9a-f]+) log_id=(\d+)"
        r" (\S+)\((\d+)\)=(\d+) \[(.*)\] ?$",
        re.M,
    )
    sample = suite.sample("rpcz.txt")
    suite.checks.equal(len(line.findall(sample)), len(sample.strip().splitlines()), "the samples have that form")
    found = []
    for _ in range(50):
        text = suite.curl("/rpcz")
        found = line.findall(text)
        if found:
            break
        suite.load.wait_for_calls(50)
    if not suite.checks.that(found, "/rpcz: lines in brpc's form", text):
        return
    calls = [call for call in found if call[5] == "example.EchoService.Echo"]
    suite.checks.that(calls and calls[0][1] == "S", "/rpcz: served calls", found)
    slow = line.findall(suite.curl("/rpcz?min_latency=15000&max_scan=10000"))
    suite.checks.that(slow and all(int(call[0]) >= 15000 for call in slow), "/rpcz: min_latency", slow)
    text = suite.curl("/rpcz?time=2000/01/01-00:00:00")
    suite.checks.that(not line.findall(text) and text, "/rpcz: nothing before 2000, and words about it", text)
    trace = suite.curl(f"/rpcz?trace={calls[0][2]}")
    for step in ("Received request(", "Enter example.EchoService.Echo", "Leave example.EchoService.Echo", "Responded("):
        suite.checks.that(step in trace, f"/rpcz?trace: {step}", trace)
    suite.checks.that(
        re.search(r"^\d\d:\d\d:\d\d\.\d{6} +\. +\d+ \[Server SPAN#[0-9a-f]+\] ", trace, re.M),
        "/rpcz?trace: the form of a step",
        trace,
    )
    suite.curl("/rpcz/stats")
    suite.checks.equal(suite.curl("/rpcz/disable").strip(), "rpcz is disabled", "/rpcz/disable")
    suite.curl("/rpcz/enable")


def test_small_pages(suite):
    checks = suite.checks
    checks.equal(suite.curl("/health"), suite.sample("health.txt"), "/health")
    checks.that(suite.curl("/version").strip(), "/version: says something")
    # "-" in the table of samples: brpc names no content type.
    ours, sample = json.loads(suite.curl("/list", content_type=None)), json.loads(suite.sample("list.txt"))
    entry = sample["service"][0]
    checks.that(entry in ours["service"], "/list: the service as brpc describes it", ours)
    ours = set(suite.curl("/protobufs").split())
    checks.that(set(suite.sample("protobufs.txt").split()) <= ours, "/protobufs: messages and services", ours)
    one = suite.curl("/protobufs/example.EchoResponse")
    checks.that("message EchoResponse" in one and "required string message = 1;" in one, "/protobufs/NAME", one)
    suite.curl("/protobufs/no.Such", status=404)
    suite.curl("/bthreads")
    suite.curl("/bthreads/abc", status=404)
    suite.curl("/ids")
    suite.curl("/ids/xyz", status=404)
    suite.curl("/vlog")
    suite.curl("/pprof/cmdline")
    checks.that("num_symbols" in suite.curl("/pprof/symbol"), "/pprof/symbol")
    suite.curl("/no/such/page", status=404)
    text = suite.curl("/EchoService/Nope", status=404)
    checks.that("Nope" in text or "Echo" in text, "/EchoService/Nope: says what there is", text)
    suite.curl("/EchoService", status=404)
    headers = suite.curl("/status", arguments=["-A", "Mozilla/5.0", "-D", "-", "-o", os.devnull], content_type=None)
    checks.that("text/html" in headers, "/status: HTML for a browser", headers)
    suite.curl("/status?console=1", arguments=["-A", "Mozilla/5.0"])
    suite.curl("/status?console=0", content_type="text/html")


def main():
    options = parser("Names that operators' scripts for brpc look for")
    options.add_argument("samples", help="folder with pages of a real brpc")
    options = options.parse_args()
    tests = chosen(options, globals())
    checks = Checks()
    with started(options) as server, LightLoad(server) as load:
        load.wait_for_calls(300)
        suite = Suite(options.samples, server, load, checks)
        for name, test in tests.items():
            checks.run(name, test, suite)
        checks.that(not load.failures, "the load got its answers", load.failures[:3])
    checks.finish()


if __name__ == "__main__":
    main()
