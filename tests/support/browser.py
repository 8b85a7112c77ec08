"""A headless Chromium driven over its DevTools pipe, with nothing but the standard library."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

# The protocol is spoken on file descriptors 3 and 4; dup first, because the pipes may be those.
ON_3_AND_4 = """
import os, sys
ends = [os.dup(os.dup(os.dup(int(end)))) for end in sys.argv[1:3]]
os.dup2(ends[0], 3), os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_browser():
    """Path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page; `events` holds all that the browser reported about it."""

    def __init__(self, executable, profile):
        to_browser, self._write_end = os.pipe()
        self._read_end, from_browser = os.pipe()
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        flags += ["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
        ends = [str(to_browser), str(from_browser)]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                ON_3_AND_4,
                *ends,
                executable,
                *flags,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.events, self._buffer, self._number, self._session = [], b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(timeout=20)
        os.close(self._write_end)
        os.close(self._read_end)

    def call(self, method, **params):
        """Run one DevTools command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path: Path, timeout_s=60.0):
        """Load a file and wait until everything in it is loaded."""
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        end = time.monotonic() + timeout_s
        while not self.named("Page.loadEventFired"):
            if time.monotonic() > end:
                raise TimeoutError(f"{path} did not load in {timeout_s} s")
            self.events.append(self._next())

    def named(self, method):
        """Parameters of all events of one kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def evaluate(self, expression):
        """Value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"]["value"]

    def pdf(self):
        """The page printed, with its own style sheet's paper size."""
        printed = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(printed["data"])

    def _next(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read_end, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)
