"""Light load: a few threads that call the echo service over HTTP with JSON, now and then slow, now and then wrong."""

import http.client
import json
import threading
import time

THREADS = 4
PAUSE_SECONDS = 0.01
SLOW_EVERY = 50
SLOW_US = 20_000
WRONG_EVERY = 200


class LightLoad:
    """Runs from `with` to its end. `failures` holds what answered otherwise than it should."""

    def __init__(self, server, path="/EchoService/Echo"):
        self.server, self.path = server, path
        self.stopped = threading.Event()
        self.calls = 0
        self.failures = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(THREADS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def wait_for_calls(self, count, seconds=60):
        """Until so many more calls have been answered."""
        wanted, deadline = self.calls + count, time.monotonic() + seconds
        while self.calls < wanted:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {self.calls} calls; failures: {self.failures[:3]}")
            time.sleep(0.02)

    def _run(self, number):
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=30)
        n = 0
        while not self.stopped.is_set():
            n += 1
            message = {"message": f"call {n} of thread {number}"}
            wanted = 200
            if n % SLOW_EVERY == 0:
                message["sleep_us"] = SLOW_US
            body = json.dumps(message)
            if n % WRONG_EVERY == 0:
                body, wanted = '{"message": ', 400
            try:
                headers = {"Content-Type": "application/json", "log-id": str(n)}
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                said = answer.read()
                if answer.status != wanted or (wanted == 200 and json.loads(said)["message"] != message["message"]):
                    raise ValueError(f"{answer.status} {said[:200]!r}")
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            with self.lock:
                self.calls += 1
            self.stopped.wait(PAUSE_SECONDS)
