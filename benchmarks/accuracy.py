"""How right are plates? On photographs whose plates are known, beside RapidOCR; and how often is one seen in nothing?

For each folder of photographs (see `photographs`), as shares of its pictures:

- located: some found plate is the true one, its box overlapping by an intersection over union of 0.5 or more; or, for
  who finds lines of text and not plates, 0.7 of the line within the plate and as wide as half of it. By overlap alone:
  IoU.
- exact: the first answer is the truth in every character. Folded: O taken as 0 and I as 1 on both sides.
- top-3: the truth is among the first three answers: each plate's text, and what else it may say, before the next one's.
- ms: CPU milliseconds per picture, of all threads, the file already decoded.

RapidOCR, tuned, reads the whole picture at up to 1280 pixels and is taken at its best text of plausible length. No
country is given. With `--empty`, Platoon is also given pictures without plates (see `plateless`): a false alarm is one
read there, a confident one a plate as sure as a camera's preview must be. Only figures are kept, no texts and no
pictures; `--worst FOLDER` gets the wrong answers, the surest first, as crops beside a list.

python -m benchmarks.accuracy [FOLDER] [--detector NAME ...] [--empty] [--worst FOLDER] [--out FILE]
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, Self

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import plateless, rapid, report
from benchmarks.photographs import Outcome, Photograph, bare, photographs, score, worst
from benchmarks.rapid import Rapid
from benchmarks.reels import DATA
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr.picture import load_picture
from platoon.plates import open_engine
from platoon.plates.events import CREDIBLE, box_of
from platoon.plates.grammar import Grammar
from platoon.plates.recorded import FoundPlate, read_picture
from platoon.settings import Settings

RESULTS = Path(__file__).parent / "results"
PHOTOGRAPHS = Path(os.environ.get("PLATOON_DATA", DATA)) / "plates-dev"
PLATOON, RAPIDOCR = "platoon", "rapidocr tuned"
DETECTORS = ("plates", "text")
"""What is measured where no detector is named, as `plates.detector` has it."""
PLAUSIBLE = (5, 8)
"""Characters of RapidOCR's text that may be a plate."""
EXACT_AIM, FALSE_ALARM_AIM = 0.95, 0.01
WORST = 10


class PictureReader(Protocol):
    """Reads the plates in pictures."""

    def plates(self, picture: Pixels) -> Sequence[FoundPlate]:
        """Best first."""


class PlatoonPlates:
    """What `platoon read --plates` finds in pictures."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._grammar = settings, Grammar(settings.plates.countries)
        self._engine = open_engine(settings, Metrics())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def plates(self, picture: Pixels) -> list[FoundPlate]:
        """See `PictureReader`."""
        with RequestContext(Priority.BULK) as call:
            return read_picture(self._engine, picture, self._settings.plates, self._grammar, call)


class RapidPlates:
    """RapidOCR's lines of plausible length as plates, the surest and largest first."""

    def __init__(self) -> None:
        self._engine = Rapid(**rapid.TUNED, **rapid.PAGE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """It has nothing to close."""

    def plates(self, picture: Pixels) -> list[FoundPlate]:
        """See `PictureReader`."""
        ranked = []
        for quad, said, sure in self._engine.read_with_scores(picture):
            text = bare(said)
            if PLAUSIBLE[0] <= len(text) <= PLAUSIBLE[1] and any(character.isdigit() for character in text):
                height = float(np.hypot(*(quad[3] - quad[0])))
                ranked.append((sure * math.sqrt(height), FoundPlate(text, said, float(sure), box_of(quad))))
        return [plate for _, plate in sorted(ranked, key=lambda pair: -pair[0])]


def readers(chosen: Sequence[str]) -> dict[str, Callable[[], AbstractContextManager[PictureReader]]]:
    """Who is measured, by name, each to be opened when it is its turn.

    Args:
        chosen: detectors, as `plates.detector` names them; none: those of `DETECTORS`.

    Raises:
        InvalidSettings: the settings know no such detector.
    """

    def opener(settings: Settings) -> Callable[[], PlatoonPlates]:
        return lambda: PlatoonPlates(settings)

    found: dict[str, Callable[[], AbstractContextManager[PictureReader]]] = {}
    for detector in chosen or DETECTORS:
        found[f"{PLATOON}, {Path(detector).stem}"] = opener(Settings.load(plates__detector=detector))
    return {**found, RAPIDOCR: RapidPlates}


def read_all(reader: PictureReader, of: Sequence[Photograph]) -> list[Outcome]:
    """Every photograph, one after the other; the first is read once before, so that no loading is measured."""
    outcomes: list[Outcome] = []
    for photograph in of:
        picture = load_picture(photograph.path)
        if not outcomes:
            reader.plates(picture)
        start = time.process_time()
        found = reader.plates(picture)
        outcomes.append(Outcome(photograph, found, time.process_time() - start))
    return outcomes


def false_alarms(reader: PictureReader, pictures: Iterable[Pixels]) -> dict[str, int]:
    """How many pictures there are, in how many a plate was read, and in how many as surely as a preview must be."""
    counts = {"pictures": 0, "read": 0, "confident": 0}
    for picture in pictures:
        sure = [plate.confidence for plate in reader.plates(picture)]
        counts["pictures"] += 1
        counts["read"] += bool(sure)
        counts["confident"] += max(sure, default=0.0) >= CREDIBLE
    return counts


def run(
    of: Sequence[Photograph], chosen: Sequence[str], *, empty: bool, progress: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, list[Outcome]]]:
    """Measure; the results as they are kept, and what each reader made of each photograph."""
    read_by: dict[str, list[Outcome]] = {}
    alarms: dict[str, dict[str, dict[str, int]]] = {}
    nothing: dict[str, Callable[[], Iterable[Pixels]]] = {
        "roads": plateless.road_parts,
        "streets": plateless.streets,
        "pages": plateless.pages,
    }
    for name, opened in readers(chosen).items():
        with opened() as reader:
            progress(f"{name}: photographs")
            read_by[name] = read_all(reader, of)
            if empty and name != RAPIDOCR:
                progress(f"{name}: pictures without plates")
                alarms[name] = {kind: false_alarms(reader, pictures()) for kind, pictures in nothing.items()}
    kinds = dict.fromkeys(photograph.kind for photograph in of)
    results: dict[str, Any] = {
        "machine": report.machine(),
        "read": {
            name: {kind: asdict(score([one for one in outcomes if one.photograph.kind == kind])) for kind in kinds}
            for name, outcomes in read_by.items()
        },
        "false_alarms": alarms,
        "answers": [[one.confidence, one.folded] for one in next(iter(read_by.values())) if one.found],
    }
    return {**results, "aims": list(aims(results))}, read_by


def aims(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was reached of what is aimed at."""
    for name, kinds in results["read"].items():
        if name.startswith(PLATOON):
            for kind, one in kinds.items():
                met = one["exact"] >= EXACT_AIM
                yield {"aim": f"exact, {kind}, {name}", "reached": one["exact"], "bound": EXACT_AIM, "met": met}
    for name, kinds in results["false_alarms"].items():
        if name.startswith(PLATOON):
            reached = sum(one["confident"] for one in kinds.values()) / sum(one["pictures"] for one in kinds.values())
            met = reached <= FALSE_ALARM_AIM
            yield {
                "aim": f"confident false alarms per picture, {name}",
                "reached": reached,
                "bound": -FALSE_ALARM_AIM,
                "met": met,
            }


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as tables."""
    table = Table("read by", "of", "pictures", "located (IoU)", "exact", "folded", "top-3", "CPU-ms")
    for name, kinds in results["read"].items():
        for kind, one in kinds.items():
            shares = (f"{one[key]:.1%}" for key in ("exact", "folded", "among_first"))
            located = f"{one['located']:.1%} ({one['overlaps']:.1%})"
            table.add_row(name, kind, str(one["pictures"]), located, *shares, f"{one['cpu_ms']:.0f}")
    console.print(table)
    if results["false_alarms"]:
        table = Table("read by", "pictures without plates", "pictures", "with a plate read", "confident", "per 100")
        for name, kinds in results["false_alarms"].items():
            for kind, one in kinds.items():
                rate = 100 * one["confident"] / max(one["pictures"], 1)
                counts = (str(one[key]) for key in ("pictures", "read", "confident"))
                table.add_row(name, kind, *counts, f"{rate:.2f}")
        console.print(table)
    table = Table("what", "aim", "reached", "")
    for one in results["aims"]:
        bound = f"{'≥' if one['bound'] > 0 else '≤'} {abs(one['bound']):g}"
        table.add_row(one["aim"], bound, f"{one['reached']:.4g}", "met" if one["met"] else "not")
    console.print(table)


def show_worst(outcomes: Sequence[Outcome], console: Console) -> None:
    """The surest wrong answers, with their truth."""
    table = Table("picture", "truth", "read as", "confidence", "located", "top-3")
    for one in worst(outcomes, WORST):
        photograph = one.photograph
        name = f"{photograph.kind}/{photograph.path.name}"
        marks = ("yes" if mark else "no" for mark in (one.located, one.among_first))
        table.add_row(name, photograph.text, one.text or "nothing", f"{one.confidence:.2f}", *marks)
    console.print(table)


def keep_worst(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write crops of the surest wrong answers, all of them, and a list of what was read.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "worst.tsv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t")
        table.writerow(("crop", "picture", "truth", "read", "confidence", "box"))
        for number, one in enumerate(worst(outcomes, len(outcomes)), 1):
            photograph = one.photograph
            x1, y1, x2, y2 = (round(side) for side in photograph.box)
            around_x, around_y = (x2 - x1) // 3, (y2 - y1) // 2
            picture = load_picture(photograph.path)
            crop = picture[max(0, y1 - around_y) : y2 + around_y, max(0, x1 - around_x) : x2 + around_x]
            name = f"{number:03}.png"
            (folder / name).write_bytes(cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[1].tobytes())
            read_at = list(one.found[0].box) if one.found else ""
            picture_name = f"{photograph.kind}/{photograph.path.name}"
            table.writerow((name, picture_name, photograph.text, one.text, f"{one.confidence:.3f}", read_at))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=PHOTOGRAPHS, help="of photographs")
    parser.add_argument("--detector", action="append", default=[], help="as plates.detector names it; may be repeated")
    parser.add_argument("--empty", action="store_true", help="count false alarms, too")
    parser.add_argument("--worst", type=Path, help="folder for the wrong answers")
    parser.add_argument("--out", type=Path, default=RESULTS / "accuracy.json", help="where the figures are written")
    given = parser.parse_args(arguments)
    try:
        of = photographs(given.folder)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with console.status("") as status:
        results, read_by = run(of, given.detector, empty=given.empty, progress=status.update)
    show(results, console)
    first = next(iter(read_by.values()))
    show_worst(first, console)
    if given.worst:
        keep_worst(first, given.worst)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    report.write(results, given.out)


if __name__ == "__main__":
    main(sys.argv[1:])
