"""What reading a document costs, alone and as a job of a running service, and what a plate waits meanwhile.

Memory is looked at several times a second, for all processes together: what lies between two looks is not seen. Its
slope is given per page, beside its standard error, as in `soak`.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import httpx

from benchmarks.clients import keep_asking, percentiles_ms, request
from benchmarks.processes import ProcessTree
from benchmarks.rapid import WAYS
from benchmarks.served import ROOT, Served
from benchmarks.service import Sizes
from benchmarks.soak import slope
from platoon.media.frame import Pixels
from platoon.plates.remote import png

COUNTS = (1, 10, 100)
LONG = 300
LOOK_S = 0.25
FEWEST = 5
"""Points that a slope takes."""
PLATES_S = 60.0

Sample = tuple[int, int]
"""Pages done, and bytes."""
Document = Callable[[int], bytes]
"""Makes a PDF of so many pages."""


def environment(folder: Path) -> dict[str, str]:
    """Nothing set but where things are kept."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PLATOON_")}
    return {**plain, "PLATOON_CACHE": str(folder / "cache"), "PLATOON_STORE__PATH": str(folder / "store")}


def alone(way: str, file: Path, folder: Path) -> dict[str, Any]:
    """A document read by a process of its own, once it has read a page before."""
    log = folder / "paged.log"
    command = [sys.executable, "-m", "benchmarks.paged", way, str(file)]
    samples: list[Sample] = []
    with ProcessTree(command, environment=environment(folder), folder=ROOT, log=log) as tree:
        said: list[Said] = []
        while not said or said[-1].what != "done":
            time.sleep(LOOK_S)
            samples.append((sum(one.what == "page" for one in said), _bytes(tree)))
            said = _said(log)
    ready, done = said[0], said[-1]
    return figures(len(said) - 2, done.time - ready.time, done.cpu_s - ready.cpu_s, samples)


class Said(NamedTuple):
    """What `paged` says."""

    what: str
    time: float
    cpu_s: float


def _said(log: Path) -> list[Said]:
    """All so far; others may write there, too."""
    lines = (line.split() for line in log.read_text(encoding="utf-8", errors="replace").splitlines())
    said = (line for line in lines if len(line) == 3 and line[0] in ("ready", "page", "done"))
    return [Said(what, float(at), float(cpu_s)) for what, at, cpu_s in said]


def as_job(service: Served, document: bytes) -> dict[str, Any]:
    """A document handed in, until all of its pages are read."""
    samples: list[Sample] = []
    cpu, begin = service.tree.cpu_s(), time.monotonic()
    with Job(service, document) as job:
        while (standing := job.standing())["status"] != "SUCCESS":
            if standing["status"] in ("FAILURE", "REVOKED"):
                raise RuntimeError(f"the job failed: {standing['result']}")
            samples.append((standing["progress"]["done"], _bytes(service.tree)))
            time.sleep(LOOK_S)
        took = time.monotonic() - begin
    return figures(standing["progress"]["done"], took, service.tree.cpu_s() - cpu, samples)


class Job:
    """A document that the service reads, while this is used as a context; then it need not go on."""

    def __init__(self, service: Served, document: bytes) -> None:
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{service.port}", trust_env=False, timeout=60)
        self._document = document

    def __enter__(self) -> Self:
        said = self._client.post(
            "/api/v1/ocr/process", files={"file": ("document.pdf", self._document)}, data={"text_layer": "ignore"}
        )
        said.raise_for_status()
        self._path = f"/api/v1/ocr/results/{said.json()['task_id']}"
        return self

    def __exit__(self, *_: object) -> None:
        self._client.delete(self._path)
        self._client.close()

    def standing(self) -> dict[str, Any]:
        """As the service says it."""
        said: dict[str, Any] = self._client.get(self._path).raise_for_status().json()
        return said


def plates_meanwhile(service: Served, document: bytes, crops: Sequence[Pixels], seconds: float) -> dict[str, Any]:
    """How long one who asks for one plate after the other waits: alone, and while the document is read."""
    requests = [request("/ocr", [png(crop)], mode="plate") for crop in crops]

    def ask(seconds: float) -> dict[str, Any]:
        answers = asyncio.run(keep_asking(service.port, requests, clients=1, until=time.monotonic() + seconds))
        if set(answers.statuses) != {200}:
            raise RuntimeError(f"not all plates were read: {answers.statuses}")
        return {"requests": len(answers.latencies_s), **percentiles_ms(answers.latencies_s)}

    ask(min(3.0, seconds))
    idle = ask(seconds)
    with Job(service, document) as job:
        while (before := job.standing())["progress"]["done"] == 0:
            time.sleep(LOOK_S)
        during = ask(seconds)
        after = job.standing()
    if after["status"] == "SUCCESS":
        raise RuntimeError("the document was read before the plates were; take a longer one")
    return {
        "idle": idle,
        "during": during,
        "pages": after["progress"]["pages"],
        "pages_meanwhile": after["progress"]["done"] - before["progress"]["done"],
    }


def costs(
    document: Document, crops: Sequence[Pixels], folder: Path, sizes: Sizes, progress: Callable[[str], None]
) -> dict[str, Any]:
    """(b) and (c): documents of each length by everybody, the same as jobs, and plates during a long one."""
    counts = [count if count == 1 else sizes.count(count) for count in COUNTS]
    file = folder / "document.pdf"
    ways: dict[str, dict[str, Any]] = {}
    file.write_bytes(document(1))
    alone("platoon", file, folder)  # what runs the models best is measured once, and remembered
    for way in ("platoon", *WAYS):
        ways[way] = {}
        for count in counts[:-1] if way == "rapidocr" else counts:  # the longest would take most of all the time
            progress(f"{count} pages, {way}")
            file.write_bytes(document(count))
            ways[way][str(count)] = alone(way, file, folder)
    with Served(environment(folder), folder) as service:
        as_job(service, document(1))
        ways["platoon, as a job"] = {}
        for count in counts:
            progress(f"{count} pages as a job")
            ways["platoon, as a job"][str(count)] = as_job(service, document(count))
        progress("plates while a document is read")
        plates = plates_meanwhile(service, document(sizes.count(LONG)), crops, sizes.seconds(PLATES_S))
    return {"pages": ways, "plates_ms": plates}


def _bytes(tree: ProcessTree) -> int:
    memory = tree.memory()
    return memory.pss_bytes or memory.rss_bytes


def figures(pages: int, took_s: float, cpu_s: float, samples: Sequence[Sample]) -> dict[str, Any]:
    """What is kept of one document."""
    results: dict[str, Any] = {
        "per_minute": 60 * pages / took_s,
        "cpu_s": cpu_s / pages,
        "peak_bytes": max(size for _, size in samples),
    }
    if len({done for done, _ in samples[2 * len(samples) // 3 :]}) >= FEWEST:
        results["slope_bytes"], results["slope_error_bytes"] = slope(samples)
    return results
