"""What does a camera cost: all in one engine, a process each, or as such systems are usually built?

N cameras play the same reels in a loop, over RTSP on the loopback (its server's cost is not counted) and from files
at full speed, in the three ways of `deployments`, one after the other. Each is started, left alone until every camera
has had a frame analysed, and then watched for some seconds. What it says of a vehicle is timed from the moment when the
server sent the frame. One that does not get so far in time is kept as that, and what is measured is written after each
way. The limit is measured in the same run. No camera sleeps: all are busy, and what is measured is who does how much.

With --float32 models compute as they do on processors without bfloat16, those with AVX2 alone. Where there is AVX-512,
its instructions are still used: OpenVINO 2026.4 crashes in the models for callers when `ONEDNN_MAX_CPU_ISA=AVX2` keeps
it from them. What of plates runs so (`benchmarks.limit` with that variable) says what the difference is.

python -m benchmarks.streams [--cameras 1 4 16] [--ways shared isolated usual] [--only rtsp|files] [--float32]
    [--seconds S] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from benchmarks import chart, report
from benchmarks.deployments import Deployment, Done, Platoon, Plays, Usual
from benchmarks.processes import Memory, ProcessTree
from benchmarks.reels import make_reels
from platoon.engine.runtime import cores

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SOURCES = ("rtsp", "files")

WAYS = ("shared", "isolated", "usual")

START_S = 300.0
LISTEN_S = 0.02
"""How finely events are timed."""
LOOK_S = 2.0
"""Between two looks at the memory; and, of a deployment that starts, at its counts."""


def window_s(cameras: int) -> float:
    """How long to watch, where nothing else is asked for: many cameras get a frame analysed every few seconds each."""
    return 20.0 if cameras <= 4 else 40.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A deployment at one moment."""

    time: float
    cpu_s: float
    pids: frozenset[int]
    done: Done
    serving_s: float = 0.0
    """CPU time of the cameras' server."""


class Watch:
    """Observes a deployment that runs: listens for its events, samples its memory, reads its counts."""

    def __init__(self, deployment: Deployment, tree: ProcessTree, plays: Plays | None = None) -> None:
        self._deployment, self._tree, self._plays = deployment, tree, plays
        self._memory: list[Memory] = []
        self._look_at = 0.0

    def read(self, *, within_s: float, more_than: int = 0) -> Reading:
        """The next complete reading, with more frames analysed than given.

        Raises:
            TimeoutError: there is none in time.
        """
        deadline = time.time() + within_s
        while time.time() < deadline:
            now, cpu_s, pids = time.time(), self._tree.cpu_s(), self._tree.pids()
            done = self._deployment.done()
            if done is not None and done.frames > more_than:
                return Reading(now, cpu_s, pids, done, self._plays.cpu_s() if self._plays else 0.0)
            self.rest(LOOK_S / 2)
        raise TimeoutError(f"not every camera had a frame analysed within {within_s:g} s")

    def rest(self, seconds: float) -> None:
        """Let it run for so long."""
        until = time.time() + seconds
        while time.time() < until:
            self._deployment.listen()
            if time.time() >= self._look_at:
                self._memory.append(self._tree.memory())
                self._look_at = time.time() + LOOK_S
            time.sleep(LISTEN_S)

    def peak(self) -> Memory:
        """The most memory seen."""
        pss = [memory.pss_bytes for memory in self._memory if memory.pss_bytes is not None]
        return Memory(max(pss, default=None), max(memory.rss_bytes for memory in self._memory))


def measure(
    deployment: Deployment,
    environment: Mapping[str, str],
    log: Path,
    seconds: float,
    *,
    plays: Plays | None = None,
    start_s: float = START_S,
) -> dict[str, Any]:
    """Start a deployment, watch it for so many seconds, end it; its figures, or what it `failed` at.

    Args:
        plays: of live cameras.
        start_s: how long every camera may take to have a frame analysed, and one more after the watch.
    """
    try:
        with ProcessTree(
            deployment.command, environment={**environment, **deployment.environment}, folder=ROOT, log=log
        ) as tree:
            watch = Watch(deployment, tree, plays)
            start = watch.read(within_s=start_s)
            deployment.listen()  # what came while the counts were read cannot be timed
            since = time.time()
            watch.rest(seconds)
            end = watch.read(within_s=start_s, more_than=start.done.frames)
    except (TimeoutError, RuntimeError, psutil.Error) as error:
        return {"failed": str(error)}
    if start.pids != end.pids:
        return {"failed": "processes ended or were started while it was measured"}
    return figures(start, end, watch.peak(), deployment.latencies_s(since))


def figures(start: Reading, end: Reading, peak: Memory, latencies_s: Sequence[float]) -> dict[str, Any]:
    """What happened between two readings."""
    analysed = end.done.frames - start.done.frames
    decoded = end.done.decoded - start.done.decoded
    cpu_s = end.cpu_s - start.cpu_s
    executions = end.done.executions - start.done.executions
    each = [count - start.done.analysed[camera] for camera, count in end.done.analysed.items()]
    seconds = end.time - start.time
    p50, p95 = np.percentile(latencies_s, (50, 95)).tolist() if latencies_s else (None, None)
    return {
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "processes": len(end.pids),
        "analysed": analysed,
        "decoded": decoded,
        "frames_per_cpu_s": analysed / cpu_s,
        "frames_per_s": analysed / seconds,
        "least_frames_per_s": min(each) / seconds,
        "most_frames_per_s": max(each) / seconds,
        "evenness": min(each) / max(each),
        "busy": cpu_s / (seconds * cores() - (end.serving_s - start.serving_s)),
        "pss_bytes": peak.pss_bytes,
        "rss_bytes": peak.rss_bytes,
        "events": len(latencies_s),
        "event_p50_s": p50,
        "event_p95_s": p95,
        "whole_frames": end.done.whole_frames - start.done.whole_frames,
        "converted_bytes_per_frame": (end.done.converted_bytes - start.done.converted_bytes) / analysed,
        "mean_batch": analysed / executions if executions else None,
        "lines_read_per_frame": (end.done.lines_read - start.done.lines_read) / analysed,
    }


@contextmanager
def played(
    source: str, reels: Sequence[str], cameras: int, folder: Path
) -> Iterator[tuple[Mapping[str, str], Plays | None]]:
    """What so many cameras show, the reels in turn: camera → file, or URL of a server that plays it meanwhile, and says
    in `folder` when it began.
    """
    shown = {f"camera{n}": reels[n % len(reels)] for n in range(cameras)}
    if source == "files":
        yield shown, None
        return
    plays = folder / "plays.jsonl"
    paths = [f"/{camera}={reel}" for camera, reel in shown.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.rtsp_server", *paths, "--plays", str(plays)],
        cwd=ROOT,
        stdin=subprocess.PIPE,  # it ends when this closes
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield {camera: server.stdout.readline().strip() for camera in shown}, Plays(plays, server.pid)


def deployed(way: str, cameras: Mapping[str, str], folder: Path, plays: Plays | None) -> Deployment:
    """One of the ways."""
    if way == "usual":
        return Usual(cameras, folder / way, plays=plays)
    return Platoon(cameras, folder / way, plays=plays, isolated=way == "isolated")


def find_limit(reels: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """What `benchmarks.limit` says."""
    command = [sys.executable, "-m", "benchmarks.limit", *reels]
    said = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True).stdout
    limit: dict[str, Any] = json.loads(said)
    return limit


def environment(folder: Path, *, precision: str = "auto") -> dict[str, str]:
    """Variables of all that is measured: nobody's settings, a cache of its own, and cameras that never sleep."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLATOON_")}
    return kept | {
        "PLATOON_CACHE": str(folder / "cache"),
        "PLATOON_ENGINE__PRECISION": precision,
        "PLATOON_SOURCE__ATTENTION": "watch",
    }


def run(
    sources: Sequence[str],
    counts: Sequence[int],
    ways: Sequence[str],
    seconds: float | None,
    *,
    precision: str = "auto",
    progress: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measure everything; the results so far, as they are kept, after each way. `progress` hears what is being done."""
    measurements: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as scratch:
        folder = Path(scratch)
        clips, paths = make_reels(folder)
        reels = [str(path) for path in paths]
        variables = environment(folder, precision=precision)
        progress("decoder and models alone")
        limit = find_limit(reels, variables)
        for source, n in itertools.product(sources, counts):
            of = folder / f"{source}-{n}"
            of.mkdir()
            with played(source, reels, n, of) as (cameras, plays):
                for way in ways:
                    progress(f"{source}, {n} camera{'s' * (n > 1)}, {way}")
                    deployment = deployed(way, cameras, of, plays)
                    figures = measure(deployment, variables, folder / "log", seconds or window_s(n), plays=plays)
                    measurements.append({"input": source, "cameras": n, "way": way, **figures})
                    yield {
                        "machine": report.machine(),
                        "precision": precision,
                        "clips": clips,
                        "limit": limit,
                        "measurements": measurements,
                        "aims": report.aims(measurements, limit),
                    }


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write results and chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 4, 16], metavar="N")
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=WAYS)
    parser.add_argument("--seconds", type=float, help="to watch each; otherwise 20, or 40 for more than 4 cameras")
    parser.add_argument("--only", choices=SOURCES)
    parser.add_argument("--float32", action="store_true", help="without bfloat16; written as streams_float32.json")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    given.results.mkdir(parents=True, exist_ok=True)
    name = "streams_float32" if given.float32 else "streams"
    sources = [given.only] if given.only else SOURCES
    results: dict[str, Any] = {}
    with console.status("") as status:
        for results in run(
            sources,
            given.cameras,
            given.ways,
            given.seconds,
            precision="float32" if given.float32 else "auto",
            progress=status.update,
        ):
            report.write(results, given.results / f"{name}.json")
    report.show(results, console)
    (given.results / f"{name}.svg").write_text(chart.draw(results["measurements"]), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
