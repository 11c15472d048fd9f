"""Measured choices, remembered: they hold for one machine, and are made again when anything about it changes.

A choice is a JSON value under a key that names all it depends on. The file is a cache: damaged, unwritable or
missing, it only costs a new measurement and a line in the log.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import tempfile
from collections.abc import Callable, Collection
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger(__name__)

Choice = TypeVar("Choice", str, int)


class Tuning:
    """The choices made on this machine, in `folder/tuning.json`. Several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "tuning.json"
        self._machine = f"{processor()} x{os.cpu_count()}, " + ", ".join(
            f"{package} {version(package)}" for package in ("openvino", "onnxruntime")
        )

    def choose(self, question: str, options: Collection[Choice], measure: Callable[[], Choice]) -> Choice:
        """The remembered answer to `question`, one of `options`; without one, what `measure` says."""
        key = f"{question}, {self._machine}"
        remembered = self._read().get(key)
        for option in options:
            if option == remembered and type(option) is type(remembered):
                return option
        choice = measure()
        logger.info("measured: %s: %s", question, choice)
        self._write(key, choice)
        return choice

    def remembered(self) -> dict[str, object]:
        """What was measured on this machine with these runtimes: question -> choice."""
        ending = f", {self._machine}"
        return {key.removesuffix(ending): choice for key, choice in self._read().items() if key.endswith(ending)}

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
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._path.parent, prefix=self._path.name, delete=False
            ) as file:
                json.dump(tree, file, indent=1, sort_keys=True)
            Path(file.name).replace(self._path)
        except OSError as error:
            logger.warning("measured choices cannot be kept in %s: %s", self._path, error)


def processor() -> str:
    """What this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
