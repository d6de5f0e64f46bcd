"""The server under test: a program of this workspace that is started here, or one that runs already."""

import argparse
import re
import shlex
import socket
import subprocess
import sys
import time
import traceback

READY_SECONDS = 30
STOP_SECONDS = 30


class Server:
    """A running server. Ends with the `with` block, and must then leave with 0, if it was started here."""

    def __init__(self, command=None, address=None):
        self.process = None
        if address:
            host, port = address.rsplit(":", 1)
        else:
            command = shlex.split(command)
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            host, port = self._listening_at()
        self.host, self.port = host, int(port)
        self._until_it_answers()

    def _listening_at(self):
        for line in self.process.stdout:
            found = re.match(r"listening on (.*):(\d+)$", line.strip())
            if found:
                return found.groups()
        raise SystemExit(f"the server has ended with {self.process.wait()} before it listened")

    def _until_it_answers(self):
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=READY_SECONDS).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process is None:
            return
        self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = "no end by SIGTERM"
        if status != 0 and kind is None:
            raise SystemExit(f"the server left with {status}")


def parser(description):
    """Command-line options that all suites have."""
    options = argparse.ArgumentParser(description=description)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--server", help="command that starts the server and says `listening on HOST:PORT`")
    which.add_argument("--at", help="HOST:PORT of one that runs already")
    options.add_argument("--only", help="names of tests, without test_, with commas between")
    return options


def chosen(options, module):
    """The functions `test_*` of a module's globals, by name: those that `--only` names, or all of them."""
    tests = {name: test for name, test in module.items() if name.startswith("test_")}
    if options.only is None:
        return tests
    wanted = options.only.split(",")
    there = [name.removeprefix("test_") for name in tests]
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise SystemExit(f"--only: no test is named {', '.join(map(repr, unknown))}; there are {', '.join(there)}")
    return {name: test for name, test in tests.items() if name.removeprefix("test_") in wanted}


def started(options):
    return Server(command=options.server, address=options.at)


class Checks:
    """What holds and what does not; the process ends with 1 if anything does not."""

    def __init__(self):
        self.count = 0
        self.failures = []

    def that(self, holds, what, found=""):
        self.count += 1
        if not holds:
            found = str(found)
            self.failures.append(what)
            print(f"FAILED: {what}" + (f"\n    found: {found[:2000]}" if found else ""), flush=True)
        return bool(holds)

    def equal(self, found, wanted, what):
        return self.that(found == wanted, what, f"{found!r}, not {wanted!r}")

    def run(self, name, test, *arguments):
        """Runs a test; one that raises has failed, and those after it are run all the same."""
        print(f"-- {name}", flush=True)
        try:
            test(*arguments)
        except Exception:
            self.that(False, f"{name}: ends", traceback.format_exc())

    def finish(self):
        print(f"{self.count} checks, {len(self.failures)} failed")
        sys.exit(1 if self.failures else 0)
