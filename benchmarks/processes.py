"""A command and all processes it starts: their CPU time, their memory, their end.

CPU time is user and system time. Memory is the sum of PSS (proportional set size: a page that n processes map
counts 1/n for each), beside the sum of RSS, which counts such a page n times. Where the system gives no PSS, it
is left out.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
        total = 0.0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # the last two: of children that have ended
        return total

    def memory(self) -> Memory:
        """As of now. Costs the kernel a walk over all pages, so not to be asked for often."""
        pss = rss = 0
        for process in self._processes():
            with suppress(psutil.NoSuchProcess, OSError):
                rss += process.memory_info().rss
                pss += _pss(process.pid)
        return Memory(pss or None, rss)

    def _processes(self) -> list[psutil.Process]:
        if self._process.poll() is not None:
            end = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(self._command)} ended with {self._process.returncode}:\n{end}")
        return [self._process, *self._process.children(recursive=True)]


def _pss(pid: int) -> int:
    """In bytes, by the kernel's summary of a process's memory. Raises OSError: one of them is not there."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, amount = line.partition(":")
        if name == "Pss":
            return 1024 * int(amount.split()[0])
    return 0
