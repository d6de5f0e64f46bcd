"""Features of baidu_std and streaming between this library and programs that link brpc, as a table on stdout.

    suite.py --pair NAME SERVER CLIENT [--pair ...] [--only FEATURE,FEATURE]

SERVER prints `ready` and where its ports are; CLIENT prints `ok`, `n/a` or `FAIL` and a feature, and lists its features
with --list. Each feature runs in a client of its own, so that one which crashes fails alone.
"""

import argparse
import os
import subprocess
import sys
import tempfile

# No feature takes longer.
PATIENCE_S = 90
MARKS = {"ok": "✓", "n/a": "–", "FAIL": "✗"}


class Server:
    def __init__(self, program):
        # brpc leaves files where it runs.
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen([program], cwd=self.folder.name, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline().split()
        if not line or line[0] != "ready":
            sys.exit(f"{program} did not start")
        self.ports = line

    def end(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def features_of(client):
    listed = subprocess.run([client, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    return listed.stdout.split()


def run(client, feature, server):
    """How the feature went, and why."""
    try:
        done = subprocess.run([client, feature, *server.ports], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True, errors="replace", timeout=PATIENCE_S, cwd=server.folder.name)
    except subprocess.TimeoutExpired:
        return "FAIL", f"it takes more than {PATIENCE_S} s"
    words = done.stdout.split(None, 2)
    if len(words) < 2 or words[0] not in MARKS or words[1] != feature:
        return "FAIL", f"the client ended with {done.returncode}: {done.stdout[:200]}"
    return words[0], words[2].strip() if len(words) > 2 else ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pair", nargs=3, action="append", required=True, metavar=("NAME", "SERVER", "CLIENT"))
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    for pair in arguments.pair:
        pair[1:] = [os.path.abspath(program) for program in pair[1:]]
    only = [name for name in arguments.only.split(",") if name]
    rows, columns, failures, remarks = {}, [], [], {}
    for name, server_program, client in arguments.pair:
        columns.append(name)
        server = Server(server_program)
        try:
            for feature in features_of(client):
                if only and feature not in only:
                    continue
                outcome, why = run(client, feature, server)
                rows.setdefault(feature, {})[name] = outcome
                print(f"{name}: {outcome} {feature} {why}".rstrip(), file=sys.stderr)
                if outcome == "FAIL":
                    failures.append(f"{name}: {feature}: {why}")
                if outcome == "n/a":
                    remarks.setdefault(why, []).append(feature)
                if server.process.poll() is not None:
                    failures.append(f"{name}: the server ended during {feature}")
                    server.end()
                    server = Server(server_program)
        finally:
            server.end()
    print("| Feature | " + " | ".join(columns) + " |")
    print("|---|" + "---|" * len(columns))
    for feature, outcomes in rows.items():
        marks = [MARKS.get(outcomes.get(name), " ") for name in columns]
        print(f"| {feature.replace('_', ' ')} | " + " | ".join(marks) + " |")
    for why, features in remarks.items():
        print(f"\n–: {why} ({', '.join(sorted(set(features)))})")
    for failure in failures:
        print(f"\n✗: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
