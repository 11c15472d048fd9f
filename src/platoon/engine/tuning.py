"""Measured choices, remembered: they hold for one machine, and are made again when anything about it changes.

A choice is a JSON value under a key that names all it depends on. The file is a cache: damaged, unwritable or
missing, it only costs a new measurement and a line in the log. Of all processes that share it one measures at a time,
which would otherwise find each other's load; the others wait for its answer.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, TypeVar

from platoon.private import make_file, make_folder

logger = logging.getLogger(__name__)

WAIT_S = 30.0
"""How long to wait for others who measure: longer than any measurement takes. One that hangs must not stop a start."""
_LOOK_S = 0.05

Choice = TypeVar("Choice", str, int)


class Tuning:
    """The choices made on this machine, in `folder/tuning.json`. Several processes may share it."""

    def __init__(self, folder: Path, *, wait_s: float = WAIT_S) -> None:
        self.folder, self._wait_s = folder, wait_s
        self._path, self._lock = folder / "tuning.json", folder / "tuning.lock"
        self._machine = f"{processor()} x{os.cpu_count()}, " + ", ".join(
            f"{package} {version(package)}" for package in ("openvino", "onnxruntime")
        )

    def choose(self, question: str, options: Sequence[Choice], measure: Callable[[], Choice]) -> Choice:
        """The remembered answer to `question`, one of `options`; without one, what `measure` says.

        Where another process measures for too long the first option is the answer, and not remembered.
        """
        if len(options) == 1:
            return options[0]
        key = f"{question}, {self._machine}"
        if (known := self._known(key, options)) is not None:
            return known
        with self._alone() as alone:
            if (known := self._known(key, options)) is not None:  # by who measured meanwhile
                return known
            if not alone:
                logger.warning("%s: taken: %s, as others still measure after %g s", question, options[0], self._wait_s)
                return options[0]
            choice = measure()
            logger.info("measured: %s: %s", question, choice)
            self._write(key, choice)
            return choice

    def remembered(self) -> dict[str, object]:
        """What was measured on this machine with these runtimes: question -> choice."""
        ending = f", {self._machine}"
        return {key.removesuffix(ending): choice for key, choice in self._read().items() if key.endswith(ending)}

    def _known(self, key: str, options: Sequence[Choice]) -> Choice | None:
        remembered = self._read().get(key)
        same = (option for option in options if option == remembered and type(option) is type(remembered))
        return next(same, None)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody else measures now; the system ends that of a process that dies."""
        try:
            make_folder(self.folder)
            make_file(self._lock)
            file = self._lock.open("ab")
        except OSError:  # said when the choice cannot be kept
            yield True
            return
        with file:
            deadline = time.monotonic() + self._wait_s
            while not (mine := _locked(file)) and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
            yield mine

    def _read(self) -> dict[str, object]:
        try:
            tree = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            logger.warning("measured choices in %s cannot be read and are made again: %s", self._path, error)
            return {}
        if not isinstance(tree, dict):
            logger.warning("measured choices in %s are no JSON object and are made again", self._path)
            return {}
        return tree

    def _write(self, key: str, choice: str | int) -> None:
        """Replace the file in one step, so that no reader ever sees half of it."""
        tree = {**self._read(), key: choice}
        try:
            make_folder(self.folder)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._path.parent, prefix=self._path.name, delete=False
            ) as file:
                json.dump(tree, file, indent=1, sort_keys=True)
            Path(file.name).replace(self._path)
        except OSError as error:
            logger.warning("measured choices cannot be kept in %s: %s", self._path, error)


class Offhand(Tuning):
    """Answers at once: what is remembered, else the first option."""

    guessed = False
    """Whether an answer was not measured."""

    def choose(self, question: str, options: Sequence[Choice], measure: Callable[[], Choice]) -> Choice:  # noqa: ARG002
        """See `Tuning.choose`; nothing is measured or kept."""
        known = self._known(f"{question}, {self._machine}", options)
        self.guessed |= known is None and len(options) > 1
        return options[0] if known is None else known


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def processor() -> str:
    """What this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
