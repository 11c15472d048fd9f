"""Work on strangers' files in a process of its own, which may use so much memory and time and then dies alone.

A few hundred bytes of a PDF or a picture can keep a decoder busy for hours, or fill the memory, and nothing inside a
process can stop it. The parent has a `Confined`; the process is a module whose `main` begins with `confine`, reads
requests and answers each by `reply`, a line of JSON that bytes may follow; `{"error": sentence}` says what does not
work.

Whoever imports this imports nothing heavy, so that such processes start quickly.
"""

from __future__ import annotations

import json
import math
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

from platoon.errors import DeadlineExceeded, InvalidInput, Unavailable

MEMORY_BYTES = 1 << 30
"""Of its address space, with whatever it loads."""
FILE_BYTES = 4 << 30
"""Of what it may write into one file."""
_GRACE_S = 2
"""The processor's limit stands so far behind the deadline, for a process that nobody waits for any more."""


class Confined:
    """Asks such a process, reads what it answers, and ends it: there is nothing that it would have to finish.

    Args:
        module: that it runs.
        files: descriptors that it gets, in this order.
        numbers: its further arguments.
        work: what it does, as in "to draw".
        step_s: how long it may take to start, and for each step after that; see `begin`.

    Raises:
        Unavailable: no process can be started. Methods that wait for an answer raise InvalidInput, when it says that
        something does not work or dies, and DeadlineExceeded; then it is of no use any more.
    """

    def __init__(self, module: str, files: Sequence[int], numbers: Sequence[int], *, work: str, step_s: float) -> None:
        self._work, self._step_s = work, step_s
        arguments = (*files, *numbers, math.ceil(step_s) + _GRACE_S)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=files,
            )
        except OSError as error:
            raise Unavailable(f"cannot start a process to {work} a file: {error.strerror}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._fd = self._process.stdin, self._process.stdout.fileno()
        self._buffer = bytearray()
        self._selector = selectors.DefaultSelector()
        os.set_blocking(self._fd, False)
        self._selector.register(self._fd, selectors.EVENT_READ)
        self.begin()

    def begin(self) -> None:
        """Its time for the next step begins."""
        self._deadline = time.monotonic() + self._step_s

    def ask(self, request: Any) -> None:
        """Send a request, a value that JSON has; blocks while it does not read."""
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            pass  # it has died; whoever reads its answer learns why

    def answer(self, name: str) -> dict[str, Any]:
        """The next line of its answer; `name` is what errors are about."""
        while b"\n" not in self._buffer:
            self._fill(1 << 16, name)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise Refused(f"{name} {message['error']}")
        return message

    def take(self, n: int, name: str) -> bytes:
        """So many bytes that follow a line."""
        while len(self._buffer) < n:
            self._fill(n - len(self._buffer), name)
        taken = bytes(self._buffer[:n])
        del self._buffer[:n]
        return taken

    def kill(self) -> None:
        """End it, so that whoever waits for its answer learns that there is none. From any thread."""
        self._process.kill()

    def close(self) -> None:
        """End it, and forget it."""
        self._selector.close()
        self._process.kill()
        for pipe in (self._requests, self._process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:
                continue
        self._process.wait()

    def _fill(self, n: int, name: str) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._selector.select(left):
            raise DeadlineExceeded(f"{name} took longer than {self._step_s:g} s to {self._work}")
        more = os.read(self._fd, max(n, 1 << 16))
        if not more:
            raise InvalidInput(f"{name} takes too much memory or time to {self._work}, or is damaged")
        self._buffer += more


class Refused(InvalidInput):
    """The process says that something does not work, and goes on."""


def confine(memory_bytes: int = MEMORY_BYTES) -> None:
    """Limit what this process can do, first of all."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))


def allow(seconds: int) -> None:
    """End this process once it has used so much more processor time, also when nobody is left to do it."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(spent.ru_utime + spent.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def reply(out: BinaryIO, message: Any) -> None:
    """One line of JSON."""
    out.write(json.dumps(message).encode() + b"\n")
    out.flush()
