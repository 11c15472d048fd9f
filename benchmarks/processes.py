"""A command and all processes it starts: their CPU time, their memory, their end.

CPU time is user and system time. Memory is the sum of PSS (proportional set size: a page that n processes map
counts 1/n for each), beside the sum of RSS, which counts such a page n times. Where the system tells no PSS, it
is left out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a tree of processes."""

    pss_bytes: int | None
    rss_bytes: int


class ProcessTree:
    """Runs a command while used as a context; what it prints goes to `log`.

    Raises:
        RuntimeError: from every method, when the command has ended by itself; with the end of its log.
    """

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path) -> None:
        self._command, self._environment, self._folder, self._log = command, environment, folder, log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                self._command, env=self._environment, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is not None:
            return
        processes = self._processes()
        self._process.terminate()
        _, left = psutil.wait_procs(processes, timeout=STOP_S)
        for process in left:
            process.kill()
        psutil.wait_procs(left)

    def pids(self) -> frozenset[int]:
        """Which processes run."""
        return frozenset(process.pid for process in self._processes())

    def cpu_s(self) -> float:
        """CPU time of all processes since their start, those that have ended included."""
        return sum(sum(process.cpu_times()[:4]) for process in self._processes())

    def memory(self) -> Memory:
        """As of now. Costs the kernel a walk over all pages, so not to be asked for often."""
        processes = self._processes()
        try:
            rollups = [Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii") for process in processes]
        except OSError:
            return Memory(None, sum(process.memory_info().rss for process in processes))
        return Memory(_total(rollups, "Pss"), _total(rollups, "Rss"))

    def _processes(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            end = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(self._command)} ended with {self._process.returncode}:\n{end}")
        return [self._process, *self._process.children(recursive=True)]


def _total(rollups: Sequence[str], name: str) -> int:
    """Bytes that all of the kernel's summaries of memory say under a name."""
    return sum(1024 * int(kb) for text in rollups for kb in re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE))
