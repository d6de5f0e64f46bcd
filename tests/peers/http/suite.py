"""curl as a client of the HTTP server, nginx in front of it, promtool at its metrics.

    suite.py --server COMMAND | --at HOST:PORT [--only NAME,NAME]

The server echoes at /EchoService/Echo (JSON or protobuf, `sleep_us` makes it wait) and answers GET /hello with a line.
"""

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0:0] = [HERE, os.path.join(HERE, "..", "support")]

from ask import Wire, curl  # noqa: E402
from load import LightLoad  # noqa: E402
from proxy import Proxy  # noqa: E402
from server import Checks, chosen, parser, started  # noqa: E402

ECHO = "/EchoService/Echo"
JSON = ["-H", "Content-Type: application/json"]
HELLO = '{"message":"hello"}'
# promtool's exit when it has read everything and advises; names are brpc's, so that this advice is not followed.
PROMTOOL_ADVISES = 3
ADVICE = ('counter metrics should have "_total" suffix', 'should not have "_count" suffix')
# Larger than a socket's buffers.
LARGE = json.dumps({"message": "a large message. " * 300_000}, separators=(",", ":"))
# Larger than `max_body_size`, 64 MiB.
TOO_LARGE = (64 << 20) + 1


class Suite:
    def __init__(self, server, checks):
        self.server, self.checks = server, checks

    def curl(self, path, *arguments):
        return curl(self.server.url + path, *arguments)

    def is_echoed(self, answer, what, message="hello"):
        try:
            is_right = answer.status == 200 and json.loads(answer.text) == {"message": message}
        except ValueError:
            is_right = False
        self.checks.that(is_right, what, f"{answer.status} {answer.headers} {answer.text[:200]}")


def post(body, headers=""):
    head = f"POST {ECHO} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}"


# ---- curl


def test_get(suite):
    answer = suite.curl("/hello")
    suite.checks.equal((answer.status, answer.text), (200, "hello\n"), "GET")
    suite.checks.equal(answer.headers.get("content-length"), "6", "GET: Content-Length")
    suite.checks.equal(answer.headers.get("content-type", "").split(";")[0], "text/plain", "GET: Content-Type")
    answer = suite.curl("/hello?a=1&b=%20&c")
    suite.checks.equal((answer.status, answer.text), (200, "hello\n"), "GET with a query")


def test_post_json(suite):
    answer = suite.curl(ECHO, *JSON, "-d", HELLO)
    suite.is_echoed(answer, "POST of JSON")
    suite.checks.equal(answer.headers.get("content-type"), "application/json", "POST of JSON: Content-Type")
    # What people type: curl calls it a form.
    suite.is_echoed(suite.curl(ECHO, "-d", HELLO), "POST of JSON that is called a form")
    for path in ("/example.EchoService/Echo", "//EchoService///Echo/", "/EchoService/Echo?x=1"):
        suite.is_echoed(suite.curl(path, *JSON, "-d", HELLO), f"POST to {path}")
    message = 'ü€😀 " \\ \u0000 <script>'
    answer = suite.curl(ECHO, *JSON, "-d", json.dumps({"message": message}))
    suite.is_echoed(answer, "POST of JSON beyond ASCII", message)


def test_post_protobuf(suite):
    message = b"\x0a\x05hello"
    with tempfile.NamedTemporaryFile() as file:
        file.write(message)
        file.flush()
        for kind in ("application/proto", "application/x-protobuf"):
            answer = suite.curl(ECHO, "-H", f"Content-Type: {kind}", "--data-binary", f"@{file.name}")
            suite.checks.equal((answer.status, answer.body), (200, message), f"POST of {kind}")


def test_errors(suite):
    checks = suite.checks
    for path, body, status, code in (
        ("/no/such/path", HELLO, 404, "1002"),
        ("/EchoService/NoSuchMethod", HELLO, 404, "1002"),
        (ECHO, '{"message":', 400, "1003"),
        (ECHO, "{}", 400, "1003"),
    ):
        answer = suite.curl(path, *JSON, "-d", body)
        found = (answer.status, answer.headers.get("x-bd-error-code"))
        checks.equal(found, (status, code), f"{body} to {path}: {answer.text}")
        checks.that(answer.text, f"{body} to {path}: an error has a text")
        checks.that(answer.headers.get("content-type", "").startswith("text/plain"), f"{path}: an error is plain text")


def test_head(suite):
    answer = suite.curl("/hello", "--head")
    found = (answer.status, answer.headers.get("content-length"), answer.body)
    suite.checks.equal(found, (200, "6", b""), "HEAD")
    for path in ("/status", "/vars"):
        answer = suite.curl(path, "--head")
        suite.checks.that(answer.status == 200 and answer.body == b"", f"HEAD of {path}", answer)


def test_other_methods(suite):
    for verb in ("OPTIONS", "PUT", "DELETE", "PATCH"):
        answer = suite.curl("/hello", "-X", verb)
        suite.checks.that(200 <= answer.status < 500, f"{verb}: an answer", answer)
    suite.is_echoed(suite.curl(ECHO, *JSON, "-X", "PUT", "-d", HELLO), "PUT reaches the method")


def test_chunked_upload(suite):
    chunked = [*JSON, "-H", "Transfer-Encoding: chunked"]
    suite.is_echoed(suite.curl(ECHO, *chunked, "-d", HELLO), "chunked POST")
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(LARGE)
        file.flush()
        message = json.loads(LARGE)["message"]
        large = ["--data-binary", f"@{file.name}"]
        suite.is_echoed(suite.curl(ECHO, *chunked, *large), "large chunked POST", message)
        answer = suite.curl(ECHO, *JSON, *large)
        suite.is_echoed(answer, "large POST", message)
        suite.checks.equal(answer.interim, [100], "large POST: curl asks first and is told to go on")
        answer = suite.curl(ECHO, *JSON, "-H", "Expect:", *large)
        suite.is_echoed(answer, "large POST that does not ask first", message)
        suite.checks.equal(answer.interim, [], "large POST that does not ask: no interim answer")
    with Wire(suite.server) as wire:
        wire.send(f"POST {ECHO} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in HELLO:
            wire.send(f"1;an=extension\r\n{byte}\r\n")
        wire.send("0\r\nTrailer: ignored\r\n\r\n")
        suite.is_echoed(wire.answer(), "chunks of a byte, with extensions and a trailer")


def test_expect(suite):
    answer = suite.curl(ECHO, *JSON, "-H", "Expect: 100-continue", "-d", HELLO)
    suite.is_echoed(answer, "Expect: 100-continue")
    with Wire(suite.server) as wire:
        wire.send(post(HELLO, "Expect: 100-continue\r\n")[: -len(HELLO)])
        answer = wire.answer()
        suite.checks.equal(answer and answer.status, 100, "the server says to go on before there is a body")
        for byte in HELLO:
            wire.send(byte)
        suite.is_echoed(wire.answer(), "the answer to a body that comes byte by byte, after one 100")


def test_too_large(suite):
    with Wire(suite.server) as wire:
        wire.send(f"POST {ECHO} HTTP/1.1\r\nHost: x\r\nContent-Length: {TOO_LARGE}\r\n\r\n")
        answer = wire.answer()
        suite.checks.equal(answer and answer.status, 413, "a body that is announced too large")
        suite.checks.that(wire.is_closed(), "a body that is announced too large: closed")
    with Wire(suite.server) as wire:
        head = "x-many: " + "a" * 1000 + "\r\n"
        try:
            wire.send("GET /hello HTTP/1.1\r\nHost: x\r\n" + head * 200 + "\r\n")
            answer = wire.answer()
        except ConnectionError:
            answer = None  # closed while we wrote
        suite.checks.that(answer is None or answer.status in (400, 431), "a head of 200 KB is refused", answer)


def test_gzip(suite):
    with tempfile.NamedTemporaryFile() as file:
        file.write(gzip.compress(HELLO.encode()))
        file.flush()
        answer = suite.curl(ECHO, *JSON, "-H", "Content-Encoding: gzip", "--data-binary", f"@{file.name}")
        suite.is_echoed(answer, "gzipped request")
    for path in ("/status", "/vars", "/flags", "/connections"):
        answer = suite.curl(path, "-H", "Accept-Encoding: gzip")
        if suite.checks.equal(answer.headers.get("content-encoding"), "gzip", f"{path}: gzipped if accepted"):
            text = gzip.decompress(answer.body).decode()
            suite.checks.that(len(text) > len(answer.body), f"{path}: gzip makes it shorter")
        answer = suite.curl(path)
        suite.checks.equal(answer.headers.get("content-encoding"), None, f"{path}: plain if gzip is not accepted")


def test_http_1_0(suite):
    answer = suite.curl("/hello", "--http1.0")
    suite.checks.equal((answer.version, answer.status, answer.text), ("HTTP/1.0", 200, "hello\n"), "HTTP/1.0")
    with Wire(suite.server) as wire:
        wire.send("GET /hello HTTP/1.0\r\n\r\n")
        answer = wire.answer()
        suite.checks.equal(answer and answer.status, 200, "HTTP/1.0 without a Host")
        suite.checks.that(wire.is_closed(), "HTTP/1.0: closed after the answer")
    with Wire(suite.server) as wire:
        for _ in range(2):
            wire.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = wire.answer()
            is_kept = answer and answer.headers.get("connection", "").lower() == "keep-alive"
            suite.checks.that(is_kept, "HTTP/1.0 with keep-alive: says so, and does so", answer)


def test_keep_alive(suite):
    url = suite.server.url + "/hello"
    command = ["curl", "--silent", "-w", "%{num_connects} ", "-o", os.devnull, url, "-o", os.devnull, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    suite.checks.equal(done.stdout.split(), ["1", "0"], "the second request of curl uses the connection of the first")
    with Wire(suite.server) as wire:
        wire.send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = wire.answer()
        is_closing = answer and answer.headers.get("connection", "").lower() == "close"
        suite.checks.that(is_closing, "Connection: close is answered with the same", answer)
        suite.checks.that(wire.is_closed(), "Connection: close: closed after the answer")


# ---- On the wire


def test_pipelining(suite):
    """The first takes longest; answers come in the order of the requests."""
    count = 10
    with Wire(suite.server) as wire:
        bodies = [json.dumps({"message": f"m{n}", "sleep_us": (count - n) * 5000}) for n in range(count)]
        wire.send("".join(post(body) for body in bodies))
        for n in range(count):
            suite.is_echoed(wire.answer(), f"pipelined: answer {n}", f"m{n}")
        wire.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        answers = [wire.answer() for _ in range(100)]
        suite.checks.that(all(a and a.text == "hello\n" for a in answers), "100 pipelined GETs in one write")


def test_slow_client_holds_up_nobody(suite):
    wires = [Wire(suite.server) for _ in range(100)]
    try:
        for wire in wires:
            wire.send("POST /EchoService/Echo HTTP/1.1\r\nHost: x\r\nContent-Le")
        suite.checks.equal(suite.curl("/hello").status, 200, "a request beside 100 that never end")
        rest = post(HELLO).partition("Content-Le")[2]
        for wire in wires:
            wire.send(rest)
            suite.is_echoed(wire.answer(), "a request in two pieces")
    finally:
        for wire in wires:
            wire.__exit__()


def test_smuggling_is_refused(suite):
    """Two readings of one request: no second request may come of it."""
    hidden = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    for name, headers in (
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("a length and chunks", f"Content-Length: {len(hidden)}\r\nTransfer-Encoding: chunked\r\n"),
        ("chunks are not the last coding", "Transfer-Encoding: chunked, gzip\r\n"),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n"),
        ("a sign in a length", "Content-Length: +5\r\n"),
        ("a length with a list", "Content-Length: 5, 6\r\n"),
        ("a space before the colon", "Content-Length : 5\r\n"),
        ("a hidden name", "Transfer-Encoding\x0b: chunked\r\n"),
        ("a bare CR", "X: a\rContent-Length: 5\r\n"),
    ):
        with Wire(suite.server) as wire:
            wire.send(f"POST {ECHO} HTTP/1.1\r\nHost: x\r\n{headers}\r\n0\r\n\r\n{hidden}")
            try:
                answer = wire.answer()
                suite.checks.that(answer is None or answer.status in (400, 501), f"{name}: refused", answer)
                suite.checks.that(wire.is_closed(), f"{name}: closed, so that nothing behind it is read")
            except ConnectionResetError:
                pass


# ---- nginx in front


def connections(port):
    """Connections to that port that the kernel remembers: those of the last minute."""
    ends = []
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            ends.append([int(address.split(":")[1], 16) for address in line.split()[1:3]])
    # By the client's port: one that is open is there twice, with each end in turn as the local one.
    return len({other for pair in ends for one, other in (pair, pair[::-1]) if one == port and other})


def test_behind_nginx(suite):
    before = connections(suite.server.port)
    with Proxy(suite.server) as proxy:
        for n in range(50):
            answer = curl(proxy.url + ECHO, *JSON, "-d", json.dumps({"message": f"p{n}"}))
            suite.is_echoed(answer, "POST through nginx", f"p{n}")
        suite.checks.equal(curl(proxy.url + "/hello").text, "hello\n", "GET through nginx")
        answer = curl(proxy.url + "/hello", "--head")
        suite.checks.equal((answer.status, answer.body), (200, b""), "HEAD through nginx")
        suite.checks.equal(curl(proxy.url + "/no/such").status, 404, "404 through nginx")
        answer = curl(proxy.url + ECHO, *JSON, "-H", "Transfer-Encoding: chunked", "-d", HELLO)
        suite.is_echoed(answer, "chunks through nginx")
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(LARGE)
            file.flush()
            answer = curl(proxy.url + ECHO, *JSON, "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{file.name}")
            suite.is_echoed(answer, "a large body through nginx", json.loads(LARGE)["message"])
        # Somebody else's name: a proxy on this machine makes the world look local.
        answer = curl(proxy.url + "/flags/max_shown_connections?setvalue=7", "-H", "Host: public.example")
        suite.checks.equal(answer.status, 403, "a change that comes through a proxy under a public name")
        urls = [f"{proxy.url}/hello"] * 200
        command = ["curl", "--silent", "--parallel", "--parallel-max", "20", *urls]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        suite.checks.equal(done.stdout.count("hello\n"), 200, "200 at once through nginx")
        made = connections(suite.server.port) - before
        suite.checks.that(made < 80, "nginx uses its connections to the server again for some 260 requests", made)
        suite.checks.that(not proxy.errors(), "nginx complains about nothing", proxy.errors())


# ---- promtool


def test_metrics(suite):
    for path in ("/metrics", "/brpc_metrics"):
        answer = suite.curl(path)
        kind = answer.headers.get("content-type", "")
        suite.checks.that(kind.startswith("text/plain"), f"{path}: plain text", kind)
        done = subprocess.run(["promtool", "check", "metrics"], input=answer.body, capture_output=True, check=False)
        said = (done.stdout + done.stderr).decode()
        other = [line for line in said.splitlines() if line and not line.endswith(ADVICE)]
        accepted = done.returncode in (0, PROMTOOL_ADVISES) and not other
        suite.checks.that(accepted, f"{path}: promtool accepts it", f"exit {done.returncode}: {other[:20]}")
        kinds = set(re.findall(r"^# TYPE \S+ (\w+)$", answer.text, re.M))
        suite.checks.that({"counter", "gauge", "summary"} <= kinds, f"{path}: counters, gauges and summaries", kinds)


def main():
    options = parser("curl, nginx and promtool at the HTTP server").parse_args()
    tests = chosen(options, globals())
    checks = Checks()
    with started(options) as server, LightLoad(server) as load:
        load.wait_for_calls(200)
        for name, test in tests.items():
            checks.run(name, test, Suite(server, checks))
        checks.that(not load.failures, "the load got its answers", load.failures[:3])
    checks.finish()


if __name__ == "__main__":
    main()
