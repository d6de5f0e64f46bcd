"""Headless Chromium, driven by chromedriver over plain WebDriver HTTP (W3C): only what the suite needs."""

import base64
import http.client
import json
import re
import shutil
import subprocess
import tempfile
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
WAIT_SECONDS = 20
CALL_SECONDS = 120
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    # Whatever is asked for beyond this machine is refused at once, and shows up in the log of requests.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]


class WebDriverError(Exception):
    pass


class Browser:
    """One session. Ends, with its processes and its profile, when the `with` block does."""

    def __init__(self, width=1280, height=800):
        self.profile = tempfile.mkdtemp(prefix="bobbin-browser-")
        driver = shutil.which("chromedriver")
        chromium = shutil.which("chromium")
        if not driver or not chromium:
            raise SystemExit("chromedriver or chromium is missing; on Debian: apt-get install chromium chromium-driver")
        self.process = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.port = None
        self.session = None
        for line in self.process.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        if self.port is None:
            raise SystemExit(f"chromedriver has ended with {self.process.wait()}")
        options = {
            "binary": chromium,
            "args": [*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"],
        }
        try:
            session = self._ask(
                "POST",
                "/session",
                {
                    "capabilities": {
                        "alwaysMatch": {
                            "goog:chromeOptions": options,
                            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                        }
                    }
                },
            )
        except BaseException:
            self.close()
            raise
        self.session = session["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            if self.session:
                self._ask("DELETE", f"/session/{self.session}")
        finally:
            self.process.terminate()
            self.process.wait()
            shutil.rmtree(self.profile, ignore_errors=True)

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_SECONDS)
        text = None if method != "POST" else json.dumps(body or {})
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        value = json.loads(answer.read())["value"]
        connection.close()
        if answer.status != 200:
            raise WebDriverError(f"{value.get('error')}: {value.get('message')}")
        return value

    def _do(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}/{path}", body)

    # ---- Pages

    def go(self, url):
        """Opens a page and waits until it and what it names are loaded."""
        self._do("POST", "url", {"url": url})

    @property
    def url(self):
        return self._do("GET", "url")

    def run(self, script, *args):
        """The value that the body of a JavaScript function returns. Works under a page's content-security policy."""
        return self._do("POST", "execute/sync", {"script": script, "args": list(args)})

    def prefer_dark(self):
        """From now on pages are asked for their dark form."""
        features = [{"name": "prefers-color-scheme", "value": "dark"}]
        command = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._do("POST", "goog/cdp/execute", command)

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self._do("GET", "screenshot")))

    # ---- Elements, by CSS selector

    def all(self, selector):
        found = self._do("POST", "elements", {"using": "css selector", "value": selector})
        return [Element(self, entry[ELEMENT]) for entry in found]

    def one(self, selector, text=None, seconds=WAIT_SECONDS):
        """The first that is shown, with such a text in it; waits until there is one."""

        def found():
            for element in self.all(selector):
                try:
                    if element.is_shown and (text is None or text in element.text):
                        return element
                except WebDriverError:
                    continue  # it went away in the meantime
            return None

        suffix = f" with {text!r}" if text else ""
        return self.wait(found, f"{selector}{suffix} to be shown", seconds)

    def wait(self, condition, what, seconds=WAIT_SECONDS):
        """What the condition returns, once that is true."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s in vain for {what} at {self.url}")
            time.sleep(0.1)

    def text(self, selector="body"):
        return self.one(selector).text

    # ---- What the browser noted

    def console(self):
        """Messages since the last call: (level, text)."""
        entries = self._do("POST", "se/log", {"type": "browser"})
        return [(entry["level"], entry["message"]) for entry in entries]

    def requests(self):
        """Addresses that pages asked for since the last call."""
        addresses = []
        for entry in self._do("POST", "se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                addresses.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                addresses.append(message["params"]["url"])
        return addresses


class Element:
    def __init__(self, browser, number):
        self.browser, self.number = browser, number

    def _do(self, method, path, body=None):
        return self.browser._do(method, f"element/{self.number}/{path}", body)

    @property
    def text(self):
        return self._do("GET", "text")

    @property
    def is_shown(self):
        return self._do("GET", "displayed")

    def click(self):
        self._do("POST", "click")

    def type(self, text):
        self._do("POST", "value", {"text": text})

    def clear(self):
        self._do("POST", "clear")

    def as_argument(self):
        """For `Browser.run`."""
        return {ELEMENT: self.number}
