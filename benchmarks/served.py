"""`platoon serve` as a process of its own, for benchmarks that ask it."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import ProcessTree

ROOT = Path(__file__).parents[1]
START_S = 120.0


class Served:
    """A service that runs while this is used as a context; entered once it is ready."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._log = folder / "serve.log"
        self.tree = ProcessTree(
            [sys.executable, "-m", "platoon", "serve", "--port", "0"],
            environment={**environment, "COLUMNS": "500"},
            folder=ROOT,
            log=self._log,
        )

    def __enter__(self) -> Self:
        self.tree.__enter__()
        try:
            self._wait()
        except BaseException as error:
            self.tree.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tree.__exit__(kind, error, trace)

    def sample(self, name: str) -> float:
        """The sum of all samples of this name in its metrics."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics", trust_env=False, timeout=30).text
        families = text_string_to_metric_families(text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            self.tree.pids()  # raises when it has ended
            said = re.search(r"http://127\.0\.0\.1:(\d+)", self._log.read_text(encoding="utf-8"))
            if said is not None:
                self.port = int(said[1])
                ready = httpx.get(f"http://127.0.0.1:{self.port}/health/ready", trust_env=False, timeout=30)
                if ready.status_code == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"the service was not ready within {START_S:g} s")
