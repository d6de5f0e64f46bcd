"""Asking a server: by curl, or byte by byte over a socket."""

import socket
import subprocess
from dataclasses import dataclass, field

CURL_SECONDS = 60
SOCKET_SECONDS = 20


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes
    # Interim answers, such as 100 (Continue).
    interim: list = field(default_factory=list)
    version: str = ""

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")


def curl(url, *arguments):
    """The answer that curl gets. Fails if curl itself does."""
    command = ["curl", "--silent", "--show-error", "--include", "--globoff", "--max-time", str(CURL_SECONDS)]
    done = subprocess.run([*command, *arguments, url], capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"curl {' '.join(arguments)[:300]} {url}: {done.stderr.decode()}")
    interim, rest = [], done.stdout
    while True:
        head, _, rest = rest.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status = lines[0].split(" ")[:2]
        if not 100 <= int(status) < 200:
            break
        interim.append(int(status))
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return Answer(int(status), headers, rest, interim, version)


class Wire:
    """A connection without a client in between."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port), timeout=SOCKET_SECONDS)
        self.input = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

    def answer(self, has_body=True):
        """The next answer; `None` once the server has closed."""
        line = self.input.readline().decode("latin-1").rstrip("\r\n")
        if not line:
            return None
        version, status = line.split(" ")[:2]
        headers = {}
        while line := self.input.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        if has_body and not 100 <= int(status) < 200:
            if headers.get("transfer-encoding", "").lower() == "chunked":
                while size := int(self.input.readline().split(b";")[0], 16):
                    body += self.input.read(size)
                    assert self.input.read(2) == b"\r\n", "a chunk ends with CR LF"
                while self.input.readline() not in (b"\r\n", b""):
                    pass
            else:
                body = self.input.read(int(headers.get("content-length", 0)))
        return Answer(int(status), headers, body, version=version)

    def is_closed(self):
        """Whether the server closes without another byte. Waits for it."""
        try:
            return self.input.read(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
