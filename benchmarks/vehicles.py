"""How many vehicles of a clip become exactly one right event? And what does the vote of many readings gain over one?

Clips go through the very analysis that cameras go through, every frame of them: the twelve of `trials`, the same at
half the size and with a noisy sensor, and the real ones, if there are any. A vehicle counts if its plate is wholly in
view at 60 pixels at least. It is right if exactly one event says its text in the end, as final. A false event is one
that says what is on no plate: as final, or as a preview that nothing came of.

What single readings would have said is taken from the same run, of those that voted for a vehicle: one at random, the
first, the largest, or the surest.

python -m benchmarks.vehicles [--detector NAME] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.reels import real_clips
from benchmarks.trials import trials
from platoon.arrays import Array
from platoon.media.decode import planar_frame
from platoon.media.frame import Quad
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.sampling import MediaClock
from platoon.media.synthetic.clips import Truth, render
from platoon.media.synthetic.scene import Scene
from platoon.metrics import Metrics
from platoon.ocr.recognition import TextLine
from platoon.plates import open_engine
from platoon.plates.analysis import Analysis
from platoon.plates.events import EventState, PlateEvent, PlatePipeline, ReadTask
from platoon.plates.grammar import Grammar
from platoon.plates.tracking import centre_of
from platoon.plates.vote import Vote, edit_distance, fold
from platoon.settings import Settings

RESULTS = Path(__file__).parent / "results"
TRIALS = "trials"
NOISE, SMALL = 14.0, (640, 360)
"""Of the trials as a poor camera has them."""
ALIKE = 3
"""Characters in which a reading of a real clip's plate may differ and still be one of it."""
AIM = 0.98


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of one plate in one frame."""

    media_time: float
    quad: Quad
    text: str
    """By itself, the grammar applied."""
    confidence: float


@dataclass(frozen=True, slots=True)
class Vehicle:
    """What is to be emitted of a clip."""

    text: str
    is_of: Callable[[Reading], bool]
    """Whether a reading is of it."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip, and what is to be emitted of it."""

    kind: str
    name: str
    path: Path
    vehicles: Sequence[Vehicle]
    hidden: tuple[str, ...] = ()
    """Plates in it that are hard to see: they may be emitted or not."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """What was emitted of one clip."""

    events: Sequence[PlateEvent]
    readings: Sequence[Reading]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How right that is."""

    vehicles: int
    right: int
    """With exactly one final event that says their text."""
    wrong: tuple[str, ...]
    """The others."""
    false: tuple[str, ...]
    """Texts of events that are of no vehicle's plate."""


class Listener(PlatePipeline):
    """A watch that keeps what was read."""

    def __init__(self, grammar: Grammar, *, min_reads: int) -> None:
        super().__init__("clip", grammar, min_reads=min_reads)
        self.readings: list[Reading] = []

    def settle(self, readings: Sequence[tuple[ReadTask, Array, TextLine]]) -> list[PlateEvent]:
        """See `PlatePipeline.settle`."""
        for look, _, line in readings:
            alone = Vote(self._grammar)
            alone.add(line, 1.0)
            said = alone.result()
            if said is not None:
                self.readings.append(Reading(look.frame.media_time, look.quad, said.text, said.confidence))
        return super().settle(readings)


def watch(path: Path, analysis: Analysis, settings: Settings) -> Emitted:
    """What a camera with this clip would emit.

    Raises:
        SourceError: the file is no video, or breaks off.
    """
    listener = Listener(Grammar(settings.plates.countries), min_reads=settings.plates.min_reads)
    events: list[PlateEvent] = []
    source = Input(str(path), settings.source)
    clock = MediaClock()
    pixels = OpenCvPixels(Metrics().pixels)
    try:
        for picture, stamp in source.pictures():
            now = clock.tick(stamp)
            frame = planar_frame(picture, camera="clip", media_time=now, captured_at=now, pixels=pixels)
            events += analysis.run([(frame, listener)])
    finally:
        source.close()
    return Emitted([*events, *listener.finish()], listener.readings)


def judge(events: Sequence[PlateEvent], clip: Clip) -> Verdict:
    """Compare what was emitted with what was to be."""
    texts = [vehicle.text for vehicle in clip.vehicles]
    last: dict[str, PlateEvent] = {}
    for event in events:
        last[event.id] = event
    final = Counter(event.plate.text for event in last.values() if event.state is not EventState.PREVIEW)
    wrong = tuple(text for text in texts if final[text] != 1)
    false = tuple(event.plate.text for event in last.values() if event.plate.text not in {*texts, *clip.hidden})
    return Verdict(len(texts), len(texts) - len(wrong), wrong, false)


def by_voting(emitted: Emitted, vehicles: Sequence[Vehicle]) -> dict[str, float]:
    """Of how many vehicles the text is right, in the end or by one reading. Who was never read does not count."""
    final: dict[str, str] = {event.id: event.plate.text for event in emitted.events}
    found = dict.fromkeys(("vehicles", "readings", "any", "first", "largest", "surest", "vote"), 0.0)
    for vehicle in vehicles:
        readings = [reading for reading in emitted.readings if vehicle.is_of(reading)]
        if not readings:
            continue
        right = [reading.text == vehicle.text for reading in readings]
        found["vehicles"] += 1
        found["readings"] += len(readings)
        found["any"] += sum(right) / len(right)
        found["first"] += right[0]
        found["largest"] += max(readings, key=lambda reading: _height(reading.quad)).text == vehicle.text
        found["surest"] += max(readings, key=lambda reading: reading.confidence).text == vehicle.text
        found["vote"] += vehicle.text in final.values()
    return found


def sureness(emitted: Emitted, vehicles: Sequence[Vehicle]) -> list[tuple[float, bool]]:
    """How sure each reading of a vehicle and each final event was, and whether it was right."""
    texts = {fold(vehicle.text) for vehicle in vehicles}
    events = [event.plate for event in emitted.events if event.state is not EventState.PREVIEW]
    return [
        *((plate.confidence, fold(plate.text) in texts) for plate in events),
        *(
            (reading.confidence, fold(reading.text) == fold(vehicle.text))
            for vehicle in vehicles
            for reading in emitted.readings
            if vehicle.is_of(reading)
        ),
    ]


def drawn_vehicles(truth: Truth) -> list[Vehicle]:
    """The vehicles of a synthetic clip that can be read, by where they are."""

    def of(quads: Mapping[int, Quad]) -> Callable[[Reading], bool]:
        def is_of(reading: Reading) -> bool:
            quad = quads.get(round(reading.media_time * truth.fps))
            x, y = (float(value) for value in centre_of(reading.quad))
            return quad is not None and cv2.pointPolygonTest(quad.astype(np.float32), (x, y), False) >= 0

        return is_of

    return [Vehicle(plate.text, of(plate.quads)) for plate in truth.vehicles if plate.readable]


def real_vehicles(texts: Sequence[str]) -> list[Vehicle]:
    """The vehicles of a real clip, by what they say."""

    def of(text: str) -> Callable[[Reading], bool]:
        return lambda reading: edit_distance(text, reading.text) <= ALIKE

    return [Vehicle(text, of(text)) for text in texts]


def poor(scene: Scene) -> Scene:
    """As a poor camera has it."""
    return replace(scene, size=SMALL, light=replace(scene.light, noise=NOISE))


def drawn(kind: str, scene: Scene, folder: Path) -> Clip:
    """A clip of a scene, drawn into `folder`."""
    path = folder / f"{scene.digest}.mp4"
    truth = render(scene, path)
    hidden = tuple(plate.text for plate in truth.vehicles if not plate.readable)
    return Clip(kind, scene.name, path, drawn_vehicles(truth), hidden)


def clips(folder: Path) -> Iterator[Clip]:
    """All, drawn into `folder` as they are asked for."""
    for kind, scenes in ((TRIALS, trials()), (f"{TRIALS}, poor camera", map(poor, trials()))):
        yield from (drawn(kind, scene, folder) for scene in scenes)
    for path, texts in real_clips().items():
        yield Clip("real", path.name, path, real_vehicles(texts))


def run(settings: Settings, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything; the results as they are kept."""
    verdicts = []
    answers: list[tuple[float, bool]] = []
    votes: dict[str, Counter[str]] = {}
    metrics = Metrics()
    with (
        tempfile.TemporaryDirectory(prefix="platoon-bench-") as scratch,
        open_engine(settings, metrics) as engine,
    ):
        analysis = Analysis(engine, settings, metrics)
        for clip in clips(Path(scratch)):
            progress(f"{clip.kind}: {clip.name}")
            emitted = watch(clip.path, analysis, settings)
            verdicts.append({"kind": clip.kind, "clip": clip.name, **asdict(judge(emitted.events, clip))})
            answers += sureness(emitted, clip.vehicles)
            votes.setdefault(clip.kind, Counter()).update(by_voting(emitted, clip.vehicles))
        analysis.close()
    results: dict[str, Any] = {
        "machine": report.machine(),
        "clips": verdicts,
        "voting": {kind: dict(counts) for kind, counts in votes.items()},
        "answers": answers,
    }
    return {**results, "aims": list(aims(results))}


def aims(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was reached of what is aimed at."""
    mine = [one for one in results["clips"] if one["kind"] == TRIALS]
    reached = sum(one["right"] for one in mine) / sum(one["vehicles"] for one in mine)
    yield {"aim": "vehicles with exactly one right event", "reached": reached, "bound": AIM, "met": reached >= AIM}
    false = sum(len(one["false"]) for one in mine)
    yield {"aim": "false events", "reached": false, "bound": 0, "met": not false}


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as tables."""
    table = Table("clips", "clip", "vehicles", "exactly one right event", "not so", "false events")
    for one in results["clips"]:
        counts = (str(one["vehicles"]), str(one["right"]))
        table.add_row(one["kind"], one["clip"], *counts, " ".join(one["wrong"]), " ".join(one["false"]))
    console.print(table)
    columns = {"any": "one at random", "first": "the first", "largest": "the largest", "surest": "the surest"}
    table = Table(
        "clips", "vehicles", "readings of each", *columns.values(), "vote", title="right by one reading or by all"
    )
    for kind, one in results["voting"].items():
        count = max(one["vehicles"], 1)
        shares = (f"{one[key] / count:.1%}" for key in (*columns, "vote"))
        table.add_row(kind, f"{one['vehicles']:.0f}", f"{one['readings'] / count:.1f}", *shares)
    console.print(table)
    for one in results["aims"]:
        console.print(f"{one['aim']}: {one['reached']:.4g}, {'met' if one['met'] else 'not met'}")


def _height(quad: Quad) -> float:
    return float(np.hypot(*(quad[3] - quad[0])))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", help="as plates.detector names it")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with console.status("") as status:
        results = run(Settings.load(plates__detector=given.detector), status.update)
    show(results, console)
    given.results.mkdir(parents=True, exist_ok=True)
    report.write(results, given.results / "vehicles.json")


if __name__ == "__main__":
    main(sys.argv[1:])
