"""Does the service stay as it is: memory, answers, queues, while requests of all kinds come as fast as it takes them?

Plates, lines, batches, bodies that are no pictures and callers who leave early, from many clients at once. Memory is
looked at all the while. It grows for the first minutes, until every thread has run and every shape of input been seen;
its slope is a least-squares line over the last third, given for a million requests, beside its standard error. Every
answer is checked against the first one for the same request.

python -m benchmarks.soak [--seconds 300] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks import report
from benchmarks.clients import Client, keep_asking, request
from benchmarks.pictures import plate_crops
from benchmarks.served import Served
from platoon.plates.remote import png

RESULTS = Path(__file__).parent / "results"
CLIENTS = 16
LOOK_S = 0.25
MILLION = 1_000_000
SETTLE_S = 30.0


class Memory:
    """Samples the memory of a process, and how many requests it had answered by then, on a thread of its own."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self.answered = 0
        self.samples: list[tuple[int, int]] = []
        """(answered, bytes)."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """No more samples."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self.samples.append((self.answered, self._process.memory_info().rss))


def slope(samples: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Bytes per request over the last third of (requests, bytes), and its standard error.

    Memory stays where it was between two looks, so that many looks say less than as many that know nothing of each
    other: the error grows with the correlation of neighbours, as for an autoregressive process of first order.
    """
    points = np.array(samples[2 * len(samples) // 3 :], np.float64)
    requests, size = points[:, 0] - points[:, 0].mean(), points[:, 1] - points[:, 1].mean()
    steepness = float(requests @ size / (requests @ requests))
    left = size - steepness * requests
    error = float(np.sqrt(left @ left / max(1, len(points) - 2) / (requests @ requests)))
    together = float(left[:-1] @ left[1:] / (left @ left)) if left.any() else 0.0
    return steepness, error * float(np.sqrt((1 + together) / (1 - together)))


def mixed(crops: Sequence[bytes]) -> list[bytes]:
    """Requests of all kinds; most of them cheap for the models, so that there are many."""
    found = []
    for number, crop in enumerate(crops):
        found.append(request("/ocr", [crop], mode="plate"))
        found.append(request("/ocr", [crop], mode="rec-only"))
        found += [request("/ocr", [crop[: 40 + number]])] * 3  # damaged
        found += [request("/ocr", [crop], mode="sideways")] * 3
        if number % 8 == 0:
            found.append(request("/ocr/batch", [crop, b"no picture", crop], mode="plate"))
    return found


async def leave(port: int, requests: Sequence[bytes], until: float) -> int:
    """Ask and hang up at once, again and again; how often."""
    left = 0
    while time.monotonic() < until:
        async with Client(port) as client:
            client.send(requests[left % len(requests)])
            await asyncio.sleep(0.05)
        left += 1
    return left


def meaning(status: int, body: bytes) -> Any:
    """What of an answer is the same each time."""
    said = json.loads(body)
    texts = [one.get("mergedText", one.get("error")) for one in (said if isinstance(said, list) else [said])]
    return status, texts


def run(seconds: float) -> dict[str, Any]:
    """Measure; the results as they are kept."""
    _, crops = plate_crops()
    requests = mixed([png(crop) for crop in crops])
    first: dict[int, Any] = {}
    changed = 0
    with tempfile.TemporaryDirectory(prefix="platoon-soak-") as scratch:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLATOON_")}
        environment["PLATOON_CACHE"] = str(Path(scratch) / "cache")
        with Served(environment, Path(scratch)) as service:
            (pid,) = service.tree.pids()
            memory = Memory(pid)

            def judge(number: int, status: int, body: bytes) -> None:
                nonlocal changed
                memory.answered += 1
                changed += first.setdefault(number, meaning(status, body)) != meaning(status, body)

            async def everybody() -> tuple[Any, int]:
                until = time.monotonic() + seconds
                asking = keep_asking(service.port, requests, clients=CLIENTS, until=until, judge=judge)
                answers, left = await asyncio.gather(asking, leave(service.port, requests, until))
                return answers, left

            answers, left = asyncio.run(everybody())
            memory.stop()
            deadline = time.monotonic() + SETTLE_S
            while (depth := service.sample("platoon_queue_depth")) and time.monotonic() < deadline:
                time.sleep(0.1)
    steepness, error = slope(memory.samples)
    return {
        "machine": report.machine(),
        "seconds": seconds,
        "requests": len(answers.latencies_s),
        "statuses": answers.statuses,
        "callers_who_left": left,
        "lost": answers.lost,
        "changed_answers": changed,
        "queue_depth_at_the_end": depth,
        "rss_bytes": memory.samples[-1][1],
        "bytes_per_request": steepness,
        "bytes_per_request_error": error,
    }


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    results = run(given.seconds)
    show(results, Console(width=None if sys.stdout.isatty() else 120))
    given.results.mkdir(parents=True, exist_ok=True)
    report.write(results, given.results / "soak.json")


def show(results: dict[str, Any], console: Console) -> None:
    """Print in a few lines, with the aims."""
    slope_gib, error_gib = (
        results[name] * MILLION / 2**30 for name in ("bytes_per_request", "bytes_per_request_error")
    )
    statuses = ", ".join(f"{count} with {status}" for status, count in sorted(results["statuses"].items()))
    verdict = "flat" if slope_gib <= 2 * error_gib else "NOT FLAT"
    console.print(
        f"{results['requests']} requests in {results['seconds']:g} s ({statuses}), and "
        f"{results['callers_who_left']} callers who left early\n"
        f"lost {results['lost']}, answers that changed {results['changed_answers']}, waiting at the end "
        f"{results['queue_depth_at_the_end']:g} (aim: 0 each)\n"
        f"memory {results['rss_bytes'] / 2**20:.0f} MiB, slope {slope_gib:+.2f} ± {2 * error_gib:.2f} GiB in a million "
        f"requests (aim: within its noise): {verdict}",
        highlight=False,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
