"""Does a whole site stay as it is: cameras over RTSP, callers, documents, viewers and manual reads, for an hour?

Everything at a moderate pace beside each other in one process of `platoon run`: the cameras play reels in a loop; every
few seconds somebody looks at previews, opens and leaves the live feed, reads a camera by hand, sends pictures sound and
damaged, hangs up early, hands in documents and cancels some, searches events; and once a minute a camera comes or goes.
Memory is that of all processes together (PSS); its slope is a least-squares line over the last two thirds, in MB a
minute, beside its standard error.

python -m benchmarks.site_soak [--minutes 60] [--cameras 4] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from websockets.asyncio.client import connect

from benchmarks import report
from benchmarks.deployments import DETECTING, Platoon
from benchmarks.jobs import environment
from benchmarks.pictures import pages, plate_crops
from benchmarks.processes import ProcessTree
from benchmarks.reels import make_reels
from benchmarks.streams import ROOT, played
from platoon.plates.remote import png

RESULTS = Path(__file__).parent / "results"
AIM_MB_PER_MINUTE = 1.0
LOOK_S = 5.0
START_S = 300.0
CALL_S = 60.0
CAMERA_FPS = 3
"""Of each camera; the machine has time left for the others."""
WELCOME = {200, 202, 204, 404, 409, 415, 422, 429, 503}
"""Statuses that may be answered here; others are faults. 404: what was looked at has just been deleted."""


class Visitors:
    """Everybody who asks a site for something, and what they were answered."""

    def __init__(self, base: str, cameras: Sequence[str], crops: Sequence[bytes], document: bytes) -> None:
        self._base, self._cameras, self._crops, self._document = base, cameras, crops, document
        self._turn = itertools.count()
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []
        """The first few answers that were none of `WELCOME`, and calls that got none."""
        self.n_faults = 0

    async def stay(self, until: float) -> None:
        """Ask until a point of `time.monotonic()`."""
        async with httpx.AsyncClient(base_url=self._base, trust_env=False, timeout=CALL_S) as client:
            self._client = client
            habits: tuple[tuple[float, Callable[[], Awaitable[None]]], ...] = (
                (1.0, self._look),
                (2.0, self._search),
                (5.0, self._read_by_hand),
                (1.0, self._send_pictures),
                (7.0, self._hang_up),
                (10.0, self._hand_in),
                (4.0, self._listen),
            )
            await asyncio.gather(*(self._keep(every_s, habit, until) for every_s, habit in habits))

    async def _keep(self, every_s: float, habit: Callable[[], Awaitable[None]], until: float) -> None:
        while time.monotonic() < until:
            try:
                await habit()
            except (httpx.HTTPError, OSError) as error:
                self._fault(f"{habit.__name__}: {error!r}")
            await asyncio.sleep(every_s)

    async def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        reply = await self._client.request(method, path, **given)
        self.statuses[reply.status_code] += 1
        if reply.status_code not in WELCOME:
            self._fault(f"{method} {path}: {reply.status_code} {reply.text[:200]}")
        return reply

    def _fault(self, what: str) -> None:
        self.n_faults += 1
        self.faults = [*self.faults, what][:10]

    def _camera(self) -> str:
        return self._cameras[next(self._turn) % len(self._cameras)]

    async def _look(self) -> None:
        await self._ask("GET", f"/api/cameras/{self._camera()}/preview.jpg")
        await self._ask("GET", "/api/cameras")

    async def _search(self) -> None:
        found = (await self._ask("GET", "/api/events", params={"limit": 20})).json()
        for event in found.get("events", ())[:1]:
            await self._ask("GET", f"/api/events/{event['id']}/crop.jpg")
        await self._ask("GET", "/metrics")

    async def _read_by_hand(self) -> None:
        await self._ask("POST", "/manual-ocr", json={"camera": self._camera()})

    async def _send_pictures(self) -> None:
        crop = self._crops[next(self._turn) % len(self._crops)]
        await self._ask("POST", "/ocr", files={"image": crop}, data={"mode": "plate"})
        await self._ask("POST", "/ocr", files={"image": crop[: len(crop) // 2]})

    async def _hang_up(self) -> None:
        with suppress(httpx.ReadTimeout):
            await self._client.post("/ocr", files={"image": self._crops[0]}, timeout=httpx.Timeout(CALL_S, read=0.01))

    async def _hand_in(self) -> None:
        reply = await self._ask("POST", "/api/v1/ocr/process", files={"file": ("page.png", self._document)})
        if reply.status_code == 202 and next(self._turn) % 3 == 0:
            await self._ask("DELETE", f"/api/v1/ocr/results/{reply.json()['task_id']}")

    async def _listen(self) -> None:
        async with connect(f"{self._base.replace('http', 'ws', 1)}/api/ws", proxy=None) as socket:
            with suppress(TimeoutError):
                await asyncio.wait_for(socket.recv(), 2)


async def edit_registry(registry: Path, until: float) -> None:
    """Once a minute the last camera goes, or comes back, as if an operator had edited the file."""
    whole = registry.read_text(encoding="utf-8")  # noqa: ASYNC240 (a small file of our own)
    fewer = "".join(whole.splitlines(keepends=True)[:-1])
    for text in itertools.cycle((fewer, whole)):
        await asyncio.sleep(min(60.0, max(0.0, until - time.monotonic())))
        if time.monotonic() >= until:
            return
        fresh = registry.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(registry)


async def watch_memory(tree: ProcessTree, until: float, say: Callable[[str], None]) -> list[tuple[float, int]]:
    """(minutes since now, bytes) until a point of `time.monotonic()`."""
    begun = time.monotonic()
    samples = []
    while time.monotonic() < until:
        minutes, memory = (time.monotonic() - begun) / 60, tree.memory()
        samples.append((minutes, memory.pss_bytes or memory.rss_bytes))
        say(f"minute {minutes:.0f} of {(until - begun) / 60:.0f}: {samples[-1][1] / 1e6:.0f} MB")
        await asyncio.sleep(LOOK_S)
    return samples


def slope_mb_per_minute(samples: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The slope over the last two thirds of (minutes, bytes), and its standard error, as if looks were independent."""
    points = np.array(samples[len(samples) // 3 :], np.float64)
    minutes, size = points[:, 0] - points[:, 0].mean(), (points[:, 1] - points[:, 1].mean()) / 1e6
    steepness = float(minutes @ size / (minutes @ minutes))
    left = size - steepness * minutes
    return steepness, float(np.sqrt(left @ left / max(1, len(points) - 2) / (minutes @ minutes)))


def run(minutes: float, cameras: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Measure; the results as they are kept. `say` is called with how it goes."""
    crops = [png(crop) for crop in plate_crops()[1]][:20]
    with tempfile.TemporaryDirectory(prefix="platoon-soak-") as scratch:
        folder = Path(scratch)
        _, reels = make_reels(folder)
        with played("rtsp", [str(path) for path in reels], cameras, folder) as (urls, plays):
            site = Platoon(urls, folder / "site", plays=plays, isolated=False)
            settings = {**environment(folder), **site.environment, "PLATOON_ANALYSIS__FPS": str(CAMERA_FPS)}
            with ProcessTree(site.command, environment=settings, folder=ROOT, log=folder / "log") as tree:
                _wait_for(site, tree)
                until = time.monotonic() + 60 * minutes
                base = f"http://127.0.0.1:{settings['PLATOON_API__PORT']}"
                visitors = Visitors(base, list(urls), crops, png(pages(1)[0]))

                async def everybody() -> list[tuple[float, int]]:
                    samples, *_ = await asyncio.gather(
                        watch_memory(tree, until, say),
                        visitors.stay(until),
                        edit_registry(folder / "site" / "cameras.txt", until),
                    )
                    return samples

                samples = asyncio.run(everybody())
                analysed = _analysed(base)
                events = [json.loads(line) for line in (folder / "site" / "events.jsonl").read_text().splitlines()]
                kept = httpx.get(f"{base}/api/summary", trust_env=False, timeout=CALL_S).json()
    steepness, error = slope_mb_per_minute(samples)
    return {
        "machine": report.machine(),
        "minutes": minutes,
        "cameras": cameras,
        "frames_analysed": analysed,
        "events": len({event["id"] for event in events}),
        "summary": kept,
        "statuses": {str(status): count for status, count in sorted(visitors.statuses.items())},
        "faults": visitors.n_faults,
        "first_faults": visitors.faults,
        "first_mb": samples[0][1] / 1e6,
        "last_mb": samples[-1][1] / 1e6,
        "peak_mb": max(size for _, size in samples) / 1e6,
        "mb_per_minute": steepness,
        "mb_per_minute_error": error,
        "samples": [(round(at, 2), round(size / 1e6, 1)) for at, size in samples[:: max(1, len(samples) // 120)]],
    }


def _analysed(base: str) -> int:
    """Frames that the detector has seen; those of cameras that have gone count too."""
    text = httpx.get(f"{base}/metrics", trust_env=False, timeout=CALL_S).text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    counted = (sample for sample in samples if sample.name == "platoon_model_items_total")
    return int(sum(sample.value for sample in counted if sample.labels["model"] in DETECTING))


def _wait_for(site: Platoon, tree: ProcessTree) -> None:
    deadline = time.monotonic() + START_S
    while site.done() is None:
        tree.pids()  # raises when it has ended
        if time.monotonic() > deadline:
            raise TimeoutError(f"not every camera had a frame analysed within {START_S:g} s")
        time.sleep(1)


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print in a few lines, with the aim."""
    statuses = ", ".join(f"{count} with {status}" for status, count in results["statuses"].items())
    reached, error = results["mb_per_minute"], results["mb_per_minute_error"]
    console.print(
        f"{results['minutes']:g} minutes, {results['cameras']} cameras, {results['frames_analysed']} frames, "
        f"{results['events']} events; answers: {statuses}; faults {results['faults']} (aim 0)\n"
        f"memory {results['first_mb']:.0f} MB at the start, {results['last_mb']:.0f} MB at the end, "
        f"{reached:+.2f} ± {2 * error:.2f} MB a minute (aim ≤ {AIM_MB_PER_MINUTE:g}): "
        f"{'met' if reached <= AIM_MB_PER_MINUTE else 'NOT met'}",
        *results["first_faults"],
        sep="\n",
        highlight=False,
        markup=False,
    )


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with console.status("starting the site") as status:
        results = run(given.minutes, given.cameras, status.update)
    show(results, console)
    given.results.mkdir(parents=True, exist_ok=True)
    report.write(results, given.results / "site_soak.json")


if __name__ == "__main__":
    main(sys.argv[1:])
