"""Headless Chromium, driven over the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Mapping
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.integration.support.process import daemon
from tests.integration.support.tools import tool

#: Keys that have no character, as WebDriver writes them.
KEYS: Mapping[str, str] = {
    "Tab": "\ue004",
    "Enter": "\ue007",
    "Shift": "\ue008",
    "Escape": "\ue00c",
    "End": "\ue010",
    "Home": "\ue011",
    "PageUp": "\ue00e",
    "PageDown": "\ue00f",
    "Left": "\ue012",
    "Up": "\ue013",
    "Right": "\ue014",
    "Down": "\ue015",
}

#: What WebDriver calls an element in JSON.
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

_FLAGS = (
    "--headless",
    # A test may run as root, and in a container without user namespaces.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # The browser itself must stay silent, so that what is sent is of the page.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)


class BrowserError(Exception):
    """chromedriver did not start, or refused a command; the message has what it said."""


@dataclass(frozen=True)
class Browser:
    """A browser with one window.

    :param session: address of the WebDriver session.
    """

    session: str

    def open(self, page: Path) -> None:
        """Opens a file and waits until it is loaded."""
        self._ask("POST", "url", {"url": page.resolve().as_uri()})

    def resize(self, width: int, height: int) -> None:
        """Sets the size of the page's view in pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", **size)

    def color_scheme(self, scheme: str) -> None:
        """Makes the page believe that the user prefers `light` or `dark`."""
        self.devtools(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs the body of a JavaScript function in the page and returns what it returns."""
        return self._ask("POST", "execute/sync", {"script": script, "args": list(arguments)})

    def press(self, *keys: str) -> None:
        """Presses and releases keys, one after the other: names of `KEYS` or characters.

        `Shift+Tab` is one with another held.
        """
        actions = []
        for key in keys:
            parts = [KEYS.get(part, part) for part in key.split("+")]
            actions.extend({"type": "keyDown", "value": part} for part in parts)
            actions.extend({"type": "keyUp", "value": part} for part in reversed(parts))
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._ask("POST", "actions", {"actions": [source]})

    def click(self, selector: str) -> None:
        """Clicks in the middle of the first element that a CSS selector finds."""
        found = self._ask("POST", "element", {"using": "css selector", "value": selector})
        self._ask("POST", f"element/{found[_ELEMENT]}/click", {})

    def screenshot(self, target: Path) -> None:
        """Writes what is seen as PNG."""
        target.write_bytes(base64.b64decode(self._ask("GET", "screenshot")))

    def console(self) -> list[str]:
        """Returns what errors and warnings the page gave since the last call."""
        return [entry["message"] for entry in self._ask("POST", "se/log", {"type": "browser"})]

    def requested(self) -> list[str]:
        """Returns the addresses that files asked for since the last call, also those refused."""
        entries = self._ask("POST", "se/log", {"type": "performance"})
        messages = [json.loads(entry["message"])["message"] for entry in entries]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
            # The browser has pages of its own.
            and message["params"]["documentURL"].startswith("file:")
        ]

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Sends a command of the Chrome DevTools protocol."""
        return self._ask("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, method: str, command: str, body: Any = None) -> Any:
        return _request(method, f"{self.session}/{command}", body)


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Starts a browser that ends with the `with` block.

    :param directory: gets its profile and the log of chromedriver.
    :raises BrowserError: it did not start within 60 seconds.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "chromedriver.log"
    log.touch()
    capabilities = {
        "browserName": "chrome",
        "goog:chromeOptions": {
            "binary": tool("chromium"),
            "args": [*_FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"],
        },
        "goog:loggingPrefs": {"browser": "WARNING", "performance": "ALL"},
    }
    with daemon([tool("chromedriver"), "--port=0"], log) as process:
        deadline = time.monotonic() + 60
        while True:
            started = re.search(r"started successfully on port ([0-9]+)", log.read_text())
            if started:
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise BrowserError(f"chromedriver did not start:\n{log.read_text()}")
            time.sleep(0.05)
        server = f"http://127.0.0.1:{started[1]}"
        answer = _request(
            "POST", f"{server}/session", {"capabilities": {"alwaysMatch": capabilities}}
        )
        session = f"{server}/session/{answer['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _request("DELETE", session)


def _request(method: str, address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"}, method=method)
    try:
        # Straight to this machine, whatever proxy the environment names.
        with build_opener(ProxyHandler({})).open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except HTTPError as error:
        raise BrowserError(f"{address}: {error.read().decode(errors='replace')}") from None
