"""A real browser for tests: Debian's chromium, driven over the Chrome DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/ names the methods. One page, one connection.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from websockets.sync.client import connect

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_DEADLINE_S = 60.0

T = TypeVar("T")


def chromium() -> str | None:
    """The browser's path, where it is installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page of a browser of its own, between `__enter__` and `__exit__`.

    Since the last `open`, `problems` collects what the page complained about (exceptions, errors on its console,
    blocked loads) and `requests` what it asked for.
    """

    def __init__(self, folder: Path) -> None:
        self._profile = folder
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []
        self.requests: list[str] = []

    def __enter__(self) -> Self:
        binary = chromium()
        assert binary is not None
        with ExitStack() as stack:
            self._process = subprocess.Popen(
                [binary, *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(self._process.wait, _DEADLINE_S)
            stack.callback(self._process.terminate)
            port, path = _wait(self._address)
            address = f"ws://127.0.0.1:{port}{path}"
            self._socket = stack.enter_context(
                connect(address, max_size=None, compression=None, close_timeout=1, ping_interval=None)
            )
            attached = self.call("Target.attachToTarget", targetId=_wait(self._page), flatten=True)
            self._session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.call(f"{domain}.enable")
            self._opened = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._opened.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools method; its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            reply = json.loads(self._socket.recv(_DEADLINE_S))
            if reply.get("id") == self._number:
                assert "error" not in reply, f"{method}: {reply['error']}"
                result: dict[str, Any] = reply["result"]
                return result
            self._note(reply)

    def open(self, address: str) -> None:
        """Navigate, and wait until the document is complete."""
        self.call("Page.navigate", url="about:blank")
        self.wait_for("location.href === 'about:blank'")
        self.problems.clear()
        self.requests.clear()
        self.call("Page.navigate", url=address)
        self.wait_for(f"location.href.startsWith({json.dumps(address)}) && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply["exceptionDetails"]
        return reply["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until a JavaScript expression is truthy, on whatever page comes meanwhile."""

        def holds() -> bool:
            try:
                return bool(self.evaluate(f"Boolean({condition})"))
            except AssertionError as error:
                if "navigated" not in str(error):
                    raise
                return False

        _wait(holds, what=condition)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str) -> None:
        """Press and release a key such as `Tab`, `Enter` or `/`."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        extra: dict[str, Any] = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
        common = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **extra)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def view(self, width: int, height: int, *, dark: bool = True, mobile: bool = False, scale: float = 1) -> None:
        """Size and colour scheme of the page."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """What is to be seen now, as a PNG."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _address(self) -> tuple[int, str] | None:
        try:
            port, path = (self._profile / "DevToolsActivePort").read_text().split()
        except (FileNotFoundError, ValueError):
            assert self._process.poll() is None, f"the browser ended with {self._process.returncode}"
            return None
        return int(port), path

    def _page(self) -> str | None:
        targets = self.call("Target.getTargets")["targetInfos"]
        return next((target["targetId"] for target in targets if target["type"] == "page"), None)

    def _note(self, message: dict[str, Any]) -> None:
        details = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
            case "Runtime.exceptionThrown":
                self.problems.append(details["exceptionDetails"]["exception"]["description"])
            case "Runtime.consoleAPICalled" if details["type"] == "error":
                self.problems.append(json.dumps(details["args"]))
            case "Log.entryAdded" if details["entry"]["level"] == "error":
                self.problems.append(f"{details['entry']['text']} ({details['entry'].get('url', '')})")


def _wait(found: Callable[[], T | None], what: str = "the browser") -> T:
    deadline = time.monotonic() + _DEADLINE_S
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return value
