"""What do cameras cost before which nothing moves, and is a vehicle missed for it?

Cameras over RTSP on the loopback, of which a few show traffic without end and all others a still scene (`stills`): a
fifth of these with vehicles at its end. One way after the other: `auto`, where cameras sleep; `watch`, as much as the
analysis has time for; `full`, everything decoded; and `motion`, the usual detection of motion on a substream
(`usual_motion`). Each plays the streams once, and is then run with the still cameras without vehicles alone. From a
while after its start on, a way is measured: who of these wakes up, wakes for nothing.

python -m benchmarks.attention [--cameras 64] [--busy 4] [--seconds 90] [--only auto watch full motion]
    [--size 1280x720] [--fps 15] [--clips FOLDER] [--results FOLDER]

Rendering takes minutes of processor time, once: `--render` does no more. Ways that were not asked for are kept in the
results, where these are of the same cameras and machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from prometheus_client.core import Sample
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.deployments import Platoon
from benchmarks.processes import ProcessTree
from benchmarks.reels import make_reels
from benchmarks.stills import Still, make_stills, substream
from benchmarks.streams import RESULTS, ROOT, Watch, environment, find_limit, played
from platoon.settings import Settings

WAYS = ("auto", "watch", "full", "motion")
LEARN_S = 24.0
"""After the last camera began to play; what is usual before each is known by then."""
ALONE_S = 30.0
"""How long the still cameras without vehicles are measured by themselves."""
LOOK_S = 4.0
"""How often it is asked who is awake."""
END_S = 6.0
"""For the last events to be emitted."""
START_S = 120.0


class Site:
    """Cameras and what they show, numbered in this order."""

    def __init__(self, streams: Sequence[Still]) -> None:
        self.streams = {f"camera{number}": stream for number, stream in enumerate(streams)}
        self.busy = [camera for camera, stream in self.streams.items() if stream.plates is None]
        self.plates = {camera: one.plates for camera, one in self.streams.items() if one.plates is not None}
        self.quiet = frozenset(camera for camera, plates in self.plates.items() if not plates)
        """Those before which no vehicle ever comes."""
        self.seconds = max(stream.seconds for stream in streams if stream.plates is not None)
        """Until all that there is to be seen before the others was to be seen."""

    def alone(self) -> Site:
        """The quiet ones by themselves."""
        return Site([self.streams[camera] for camera in self.streams if camera in self.quiet])


@dataclass(frozen=True)
class Glance:
    """A way at one moment, by camera."""

    time: float
    cpu_s: float
    analysed: Mapping[str, float]
    decoded: Mapping[str, float]
    wakes: Mapping[str, float]
    """But for those by being connected."""
    causes: Mapping[str, float]
    """The same of the quiet cameras, by cause."""
    asleep: frozenset[str]


class Motion(Platoon):
    """`benchmarks.usual_motion`."""

    @property
    def command(self) -> list[str]:
        """See `Deployment`."""
        paths = (str(self._registry), str(self._events), str(self._port))
        return [sys.executable, "-m", "benchmarks.usual_motion", *paths]


def glance(samples: Sequence[Sample], cpu_s: float, quiet: frozenset[str]) -> Glance:
    """What metrics say. Of wake-ups those count that are no connections."""

    def by(name: str, label: str = "camera", of: frozenset[str] | None = None) -> dict[str, float]:
        sums: Counter[str] = Counter()
        for one in samples:
            connected = one.labels.get("cause") == "start"
            if one.name == name and not connected and (of is None or one.labels["camera"] in of):
                sums[one.labels[label]] += one.value  # type: ignore[assignment]
        return dict(sums)

    return Glance(
        time.time(),
        cpu_s,
        by("platoon_frames_analysed_total"),
        by("platoon_frames_decoded_total"),
        by("platoon_camera_wakeups_total"),
        by("platoon_camera_wakeups_total", "cause", quiet),
        frozenset(camera for camera, value in by("platoon_camera_asleep").items() if value),
    )


def figures(start: Glance, end: Glance, asleep: Sequence[frozenset[str]], site: Site) -> dict[str, Any]:
    """What happened between two glances; `asleep`: who slept, at moments between them."""
    seconds, quiet = end.time - start.time, site.quiet

    def rates(name: str, cameras: Iterable[str]) -> list[float]:
        earlier, later = getattr(start, name), getattr(end, name)
        return [(later.get(camera, 0.0) - earlier.get(camera, 0.0)) / seconds for camera in cameras]

    wakes: dict[str, list[float]] = defaultdict(list)
    for camera, per_s in zip(quiet, rates("wakes", quiet), strict=True):
        wakes[site.streams[camera].kind].append(60 * per_s)
    causes = {cause: round(count - start.causes.get(cause, 0.0)) for cause, count in end.causes.items()}
    return {
        "seconds": seconds,
        "cpu_percent": 100 * (end.cpu_s - start.cpu_s) / seconds,
        "busy_frames_per_s": rates("analysed", site.busy),
        "still_frames_per_s": sum(rates("analysed", site.plates)),
        "decoded_per_s": sum(rates("decoded", site.streams)),
        "still_decoded_per_s": sum(rates("decoded", site.plates)),
        "false_wakes_per_minute": _mean([one for kind in wakes.values() for one in kind]),
        "false_wakes_by_kind": {kind: _mean(wakes[kind]) for kind in sorted(wakes)},
        "false_wakes_by_cause": {cause: count for cause, count in causes.items() if count},
        "awake": 1 - _mean([len(quiet & one) / max(1, len(quiet)) for one in asleep]),
    }


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def accuracy(plates: Mapping[str, Sequence[str]], finals: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """How right the events are of cameras of which all plates are known.

    Args:
        plates: by camera, those that were to be read.
        finals: (camera, text), also of cameras of which nothing is known.
    """
    said = Counter((camera, _plain(text)) for camera, text in finals if camera in plates)
    true = {(camera, _plain(text)) for camera, texts in plates.items() for text in texts}
    return {
        "vehicles": len(true),
        "right": sum(said[one] == 1 for one in true),
        "missing": [f"{camera}: {text}" for camera, text in sorted(true) if not said[camera, text]],
        "twice": [f"{camera}: {text}" for camera, text in sorted(true) if said[camera, text] > 1],
        "false": [f"{camera}: {text}" for camera, text in sorted(set(said) - true)],
    }


def _plain(text: str) -> str:
    return "".join(filter(str.isalnum, text))


def measure(way: str, site: Site, variables: Mapping[str, str], folder: Path, *, alone: bool) -> dict[str, Any]:
    """Run one way; what it did from a while after its start on, what was emitted, and what it `failed` at, if it did.

    Args:
        folder: for all that it writes; made here.
        alone: measure for a while, instead of until all vehicles have come.
    """
    folder.mkdir()
    found: dict[str, Any] = {}
    files = [str(stream.substream if way == "motion" else stream.path) for stream in site.streams.values()]
    with played("rtsp", files, len(files), folder) as (cameras, plays):
        kind = Motion if way == "motion" else Platoon
        deployment = kind(cameras, folder / "site", plays=plays, isolated=False)
        variables = {**variables, **deployment.environment}
        if way != "motion":
            variables["PLATOON_SOURCE__ATTENTION"] = way
        try:
            with ProcessTree(deployment.command, environment=variables, folder=ROOT, log=folder / "log") as tree:
                _watch(deployment, tree, site, ALONE_S if alone else None, found)
        except (TimeoutError, RuntimeError, OSError, psutil.Error) as error:
            found["failed"] = str(error)
    first = [(camera, text) for camera, text, at in deployment.finals() if at < site.streams[camera].seconds]
    return found if alone else found | accuracy(site.plates, first)


def _watch(deployment: Platoon, tree: ProcessTree, site: Site, seconds: float | None, found: dict[str, Any]) -> None:
    """Put into `found` what is known so far, again and again."""
    watch, began = Watch(deployment, tree), time.time()
    watch.read(within_s=START_S)
    found["start_s"] = time.time() - began
    end = time.time() + (LEARN_S + seconds if seconds else site.seconds + END_S)
    watch.rest(LEARN_S)

    def look() -> Glance:
        return glance(deployment.samples(), tree.cpu_s(), site.quiet)

    start, asleep = look(), []
    while (left := end - time.time()) > 0:
        watch.rest(min(LOOK_S, left))
        last = look()
        asleep.append(last.asleep)
        found |= figures(start, last, asleep, site)
        found["pss_bytes"], found["rss_bytes"] = watch.peak().pss_bytes, watch.peak().rss_bytes
    if latencies := deployment.latencies_s(start.time):
        found["events"] = len(latencies)
        found["event_p50_s"], found["event_p95_s"] = np.percentile(latencies, (50, 95)).tolist()


def aims(ways: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was reached of what is aimed at, by sleeping; see `report.reached`."""
    if (auto := ways.get("auto")) is None or "failed" in auto:
        return []
    found = {
        "vehicles found, of all": (auto["right"] / max(1, auto["vehicles"]), 1.0),
        "frames/s of the busy camera with fewest": (min(auto["busy_frames_per_s"], default=0.0), 5.0),
        "% of a core, a still camera": (auto["alone"].get("cpu_percent_each"), -1.0),
        "false wake-ups a camera and minute": (auto["false_wakes_per_minute"], -1.0),
    }
    return [
        {"aim": aim, "reached": value, "bound": bound, "met": value >= bound if bound > 0 else value <= -bound}
        for aim, (value, bound) in found.items()
        if value is not None
    ]


def table(ways: Mapping[str, Mapping[str, Any]]) -> Table:
    """A column for each way."""

    def percentiles(one: Mapping[str, Any]) -> str:
        return f"{one['event_p50_s']:.2f} / {one['event_p95_s']:.2f}"

    rows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "vehicles right, of": lambda one: f"{one['right']}, {one['vehicles']}",
        "missing; twice; false": lambda one: "; ".join(str(len(one[name])) for name in ("missing", "twice", "false")),
        "busy: frames/s each": lambda one: ", ".join(f"{rate:.1f}" for rate in one["busy_frames_per_s"]),
        "still: frames/s, all": lambda one: f"{one['still_frames_per_s']:.1f}",
        "decoded frames/s, all": lambda one: f"{one['decoded_per_s']:.0f}",
        "CPU, % of a core": lambda one: f"{one['cpu_percent']:.0f}",
        "CPU, % of a core a still camera, alone": lambda one: f"{one['alone']['cpu_percent_each']:.2f}",
        "false wake-ups a camera and minute": lambda one: f"{one['false_wakes_per_minute']:.2f}",
        "time awake, still": lambda one: f"{100 * one['awake']:.0f} %",
        "memory, MB": lambda one: f"{(one['pss_bytes'] or one['rss_bytes']) / 1e6:.0f}",
        "from sending to event, p50 / p95, s": percentiles,
    }
    found = Table("", *ways)

    def cell(show: Callable[[Mapping[str, Any]], str], one: Mapping[str, Any]) -> str:
        try:
            return show(one)
        except KeyError:  # it did not get so far
            return ""

    for name, show in rows.items():
        found.add_row(name, *(cell(show, one) for one in ways.values()))
    return found


def run(
    site: Site, reels: Sequence[str], ways: Sequence[str], progress: Callable[[str], object]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(way, its figures), one after the other."""
    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as scratch:
        folder = Path(scratch)
        variables = environment(folder)
        progress("models alone, so that no way has to measure them")
        find_limit(reels, variables)
        for way in ways:
            progress(f"{way}, all cameras")
            found = measure(way, site, variables, folder / way, alone=False)
            progress(f"{way}, still cameras alone")
            alone = measure(way, site.alone(), variables, folder / f"{way}-alone", alone=True)
            if "cpu_percent" in alone:
                alone["cpu_percent_each"] = alone["cpu_percent"] / len(site.quiet)
            yield way, found | {"alone": alone}


def main(arguments: Sequence[str] = ()) -> None:
    """Render, measure, print, and write results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cameras", type=int, default=64)
    parser.add_argument("--busy", type=int, default=4, help="how many of them show traffic")
    parser.add_argument("--seconds", type=float, default=90.0, help="of a stream, at least")
    parser.add_argument("--only", choices=WAYS, nargs="+", default=WAYS, metavar="WAY")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--render", action="store_true", help="make the streams and end")
    parser.add_argument("--clips", type=Path, help="where streams are kept; otherwise in Platoon's cache")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    options = parser.parse_args(arguments)
    width, height = map(int, options.size.split("x"))
    clips = options.clips or Settings.load().cache / "benchmarks"
    console = Console() if sys.stdout.isatty() else Console(width=120)
    size, say = (width, height), console.print
    stills = make_stills(
        clips, options.cameras - options.busy, options.seconds, size=size, fps=options.fps, on_render=say
    )
    kind, reels = make_reels(clips)
    site = Site([*(traffic(reels[n % len(reels)], clips) for n in range(options.busy)), *stills])
    if options.render:
        return
    setting = {
        "machine": report.machine(),
        "clips": kind,
        **{name: getattr(options, name) for name in ("cameras", "busy", "seconds", "size", "fps")},
    }
    path = options.results / "attention.json"
    options.results.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = {name: kept.get(name) for name in setting} == setting
    ways: dict[str, Any] = kept["ways"] if same else {}
    for way, found in run(site, [str(reel) for reel in reels], options.only, say):
        ways[way] = found
        report.write(setting | {"ways": ways, "aims": aims(ways)}, path)
    say(table(ways))
    for way, found in ways.items():
        for name in ("failed", "missing", "twice", "false", "false_wakes_by_kind", "false_wakes_by_cause"):
            if found.get(name):
                say(f"{way}, {name}: {found[name]}", highlight=False)
    say(report.reached(aims(ways)))


def traffic(reel: Path, folder: Path) -> Still:
    """A reel as a camera shows it, again and again."""
    sub = folder / f"{reel.stem}-reel.sub.mp4"
    if not sub.exists():
        substream(reel, sub)
    return Still("traffic", reel, sub, plates=None, seconds=0.0)


if __name__ == "__main__":
    main(sys.argv[1:])
