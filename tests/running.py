"""Platoon as processes of their own, for tests of the whole: started in a folder, asked over their faces, ended."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PATIENCE_S = 300.0
"""For whatever must happen: machines may be slow."""
LIGHT = {"engine__runtime": "openvino", "engine__max_batch": 1}
"""Settings for processes that are started often: they measure nothing and warm up no batches, which is most of what a
start costs.
"""
T = TypeVar("T")


def wait_until(condition: Callable[[], T | None], what: str, *, patience_s: float = PATIENCE_S) -> T:
    """The first truthy value of `condition`."""
    deadline = time.monotonic() + patience_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {patience_s:g} s in vain until {what}"
        time.sleep(0.05)
    return value


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has at the moment, none of those that the system gives to whoever asks for any."""
    chances = iter(random.SystemRandom().sample(range(10_000, 32_000), 1000))
    with ExitStack() as stack:
        held: list[int] = []
        while len(held) < count:
            port = next(chances)
            with suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                held.append(port)
        return held


class Place:
    """A folder that commands run in, with the store and the registry inside; `settings` are variables' names in
    lower case without their prefix (`plates__input_width=512`).
    """

    def __init__(self, folder: Path, *, cache: Path, **settings: object) -> None:
        self.folder, self.cache, self.settings = folder, cache, settings
        self.registry = folder / "cameras.txt"
        self.event_file = folder / "events.jsonl"
        self.store = folder / "store"

    def register(self, *lines: str) -> Path:
        """Write the registry, in one step as an editor does."""
        fresh = self.folder / "cameras.new"
        fresh.write_text("\n".join(lines) + "\n")
        return fresh.replace(self.registry)

    def run(self, *arguments: str | Path, prepare: Callable[[], object] | None = None) -> "Finished":
        """`platoon ARGUMENTS` to its end; `prepare` runs in the new process first."""
        done = subprocess.run(
            [sys.executable, "-m", "platoon", *map(str, arguments)],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            preexec_fn=prepare,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str | Path) -> "Running":
        """`platoon ARGUMENTS` as a context; entered once its engine is warm."""
        return Running([sys.executable, "-m", "platoon", *map(str, arguments)], self.folder, self._environment())

    def begin(self, *arguments: str | Path) -> "Process":
        """`platoon ARGUMENTS` as a context; entered at once."""
        return Process([sys.executable, "-m", "platoon", *map(str, arguments)], self.folder, self._environment())

    def emitted(self) -> list[dict[str, Any]]:
        """The events in the event file."""
        return [json.loads(line) for line in self.event_file.read_text().splitlines()]

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PLATOON_")}
        given = {
            "cache": self.cache,
            "store__path": self.store,
            "api__port": 0,
            **self.settings,
        }
        return inherited | {f"PLATOON_{name.upper()}": str(value) for name, value in given.items()}


class Finished:
    """A command that has ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        assert "Traceback" not in err, err

    def __repr__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Process:
    """A command that goes on, between `__enter__` and `__exit__`; its log is shown with whatever fails meanwhile."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        self._command, self._folder, self._environment = command, folder, environment | {"COLUMNS": "200"}
        self._log = folder / f"log-{time.monotonic_ns()}.txt"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.stop() if error is None else self.kill()
        if error is not None:
            error.add_note(f"--- its log\n{self.log}")
        else:
            assert "Traceback" not in self.log, self.log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return "\n".join(line.rstrip() for line in self._log.read_text(errors="replace").splitlines())

    def stop(self) -> int:
        """End it as a service manager does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """The first truthy value of `condition`, while the process lives."""

        def checked() -> T | None:
            assert self.process.poll() is None, f"it ended with {self.process.returncode} before {what}"
            return condition()

        return wait_until(checked, what)


class Running(Process):
    """A command that serves; entered once its engine is warm."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
        super().__init__(command, folder, environment)
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            said = r"(?:watches|sent to) .*(http://[\d.]+:\d+)"
            self.address = self.until(lambda: re.search(said, self.log), "it listens")[1]
            client = httpx.Client(base_url=self.address, timeout=PATIENCE_S, trust_env=False)
            self.http = self._opened.enter_context(client)
            self.until(lambda: self.http.get("/health/ready").status_code == 200, "it is ready")
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        super().__exit__(kind, error, trace)

    def get(self, path: str, **query: str | int) -> Any:
        """The JSON of an address."""
        return self.http.get(path, params=query).raise_for_status().json()

    def cameras(self) -> dict[str, dict[str, Any]]:
        """`/api/cameras` by id."""
        return {camera["id"]: camera for camera in self.get("/api/cameras")["cameras"]}

    def texts(self, camera: str) -> list[str]:
        """Of the final events of a camera, oldest first."""
        events = self.get("/api/events", camera=camera, state="final", limit=1000)["events"]
        return [event["text"] for event in reversed(events)]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        return sum(
            sample.value
            for family in text_string_to_metric_families(self.http.get("/metrics").text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def listen(self, path: str = "/api/ws", *, port: int | None = None) -> "Listener":
        """A WebSocket of the main port, or of another."""
        address = self.address if port is None else f"http://127.0.0.1:{port}"
        return Listener(address.replace("http", "ws", 1) + path)


class Listener:
    """A WebSocket client, between `__enter__` and `__exit__`; `messages` are those it got so far."""

    def __init__(self, address: str) -> None:
        self._address, self._opened = address, ExitStack()
        self.messages: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._socket = self._opened.enter_context(
            connect(self._address, proxy=None, open_timeout=PATIENCE_S, max_size=None, close_timeout=1)
        )
        self._thread = threading.Thread(target=self._hear)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()
        self._thread.join()

    def _hear(self) -> None:
        try:
            for text in self._socket:
                self.messages.append(json.loads(text))
        except ConnectionClosed:
            pass  # the process was killed, as some tests do

    def events(self) -> list[dict[str, Any]]:
        """The events emitted so far."""
        return [message["event"] for message in self.messages if message["type"] == "event"]
