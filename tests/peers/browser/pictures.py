"""Pictures of the main pages of a server under a lively load, for docs/images.

    pictures.py FOLDER --server COMMAND | --at HOST:PORT [--dark]
"""

import contextlib
import http.client
import json
import os
import random
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[0:0] = [HERE, os.path.join(HERE, "..", "support")]

from load import LightLoad  # noqa: E402
from server import parser, started  # noqa: E402
from webdriver import Browser  # noqa: E402

WIDTH, HEIGHT = 1280, 860
# Seconds of the charts that are filled before the first picture.
WARM_SECONDS = 70
LIGHT_LOADS = 3
SLEEPERS = 16
SLEEP_US = (2_000, 250_000)
PROFILE_SECONDS = 5


def sleep_through(server, stopped):
    """Calls that wait inside their handler, so that there are bthreads to be seen."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
    while not stopped.is_set():
        body = json.dumps({"message": "wait", "sleep_us": random.randint(*SLEEP_US)})
        connection.request("POST", "/EchoService/Echo", body, {"Content-Type": "application/json"})
        connection.getresponse().read()


def take(browser, server, folder, suffix):
    def picture(name):
        browser.run("window.scrollTo(0, 0)")
        browser.screenshot(os.path.join(folder, f"{name}{suffix}.png"))

    def charts():
        """Until each has been drawn more than once."""
        browser.requests()
        for _ in range(2):
            browser.wait(lambda: any("series" in address for address in browser.requests()), "a chart to ask again")

    browser.go(server.url + "/status")
    charts()
    picture("status")
    browser.go(server.url + "/vars/bthread_*;process_memory*;process_cpu*")
    for row in browser.all("details.var"):
        if row.text.split("\n")[0] in ("bthread_count", "bthread_worker_usage", "process_memory_resident"):
            browser.run("arguments[0].querySelector('summary').click()", row.as_argument())
    charts()
    picture("vars")
    browser.go(server.url + "/connections")
    picture("connections")
    browser.go(server.url + "/rpcz?min_latency=15000")
    browser.all("main a[href*='span=']")[0].click()
    picture("rpcz")
    browser.go(server.url + "/fibers")
    picture("fibers")
    browser.go(f"{server.url}/hotspots/cpu?seconds={PROFILE_SECONDS}")
    browser.one("main .frame", seconds=60)
    picture("cpu")


def main():
    options = parser("Pictures of the main pages")
    options.add_argument("folder")
    options.add_argument("--dark", action="store_true", help="as who prefers dark pages sees them")
    options = options.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    stopped = threading.Event()
    with started(options) as server, contextlib.ExitStack() as loads, Browser(WIDTH, HEIGHT) as browser:
        loads.callback(stopped.set)
        for _ in range(LIGHT_LOADS):
            loads.enter_context(LightLoad(server))
        for _ in range(SLEEPERS):
            threading.Thread(target=sleep_through, args=(server, stopped), daemon=True).start()
        if options.dark:
            browser.prefer_dark()
        stopped.wait(WARM_SECONDS)
        take(browser, server, options.folder, "-dark" if options.dark else "")


if __name__ == "__main__":
    main()
