"""How well is text read? Against the text layer of real PDF files, and against RapidOCR, which has the same weights.

Pages are read by Platoon and RapidOCR, as they come and otherwise; by Platoon with its detector's pixels normalised as
PaddleOCR does and as RapidOCR does. Then lines are cut out once and read by both: how many say the very same?

The character error rate is the Levenshtein distance to the true text by its length. Pages are compared line by line, as
the order of lines is another question: a printed character belongs to the line that was found where its middle is, to
the one whose own middle is nearest if there are several. What a line says is compared with its characters from left to
right, a character of no line is an error, and so is each that a line says where nothing is printed. Pages are drawn as
the service draws them, at 144 dpi.

python -m benchmarks.quality [--share 0.2] [--pdfs FOLDER] [--results FOLDER]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import corpus, rapid, report
from benchmarks.corpus import Character, Page, fold
from benchmarks.pictures import plate_crops
from benchmarks.rapid import Rapid
from benchmarks.service import spread
from benchmarks.waiting import PLATES
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.engine.runtime import open_runtime
from platoon.engine.surgery import PixelInput
from platoon.engine.tuning import Tuning
from platoon.media.frame import Pixels, Quad
from platoon.metrics import Metrics
from platoon.ocr import detection
from platoon.ocr.engine import TextEngine
from platoon.ocr.lines import cut
from platoon.ocr.reading import read
from platoon.ocr.recognition import HEIGHT, MIN_WIDTH, PADDING, decode, recognition_graph
from platoon.reader import Reader
from platoon.settings import EngineSettings, Settings

RESULTS = Path(__file__).parent / "results"
PER_PACKAGE = 3
"""Pages; the text of all of them is compared."""
PAGES_OF_LINES, PLATES_OF_LINES = 16, 150
"""Pictures whose lines are cut out."""
RESAMPLED = 2000
"""Times that pages are drawn to see how much a ratio is due to their choice."""
HALF = PixelInput(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), bgr=True)
"""How RapidOCR normalises pixels for detection, where PaddleOCR has `detection.INPUT`."""
FLOAT32, HALVED = "platoon in float32", "platoon in float32, RapidOCR's normalisation"
COMPARED = (("platoon", "rapidocr"), ("platoon", "rapidocr tuned"), ("platoon", FLOAT32), (FLOAT32, HALVED))
"""Whose errors are set against whose."""
AIMED = COMPARED[:2]
"""Where the first should make no more errors than the second."""

Found = Sequence[tuple[Quad, str]]
"""Lines, where they are and what they say."""
Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Count:
    """What is right and wrong of some pages."""

    characters: int = 0
    """Printed, with one blank before each word."""
    errors: int = 0
    """Characters to insert, leave out or replace."""
    letters: int = 0
    """Printed, without blanks."""
    wrong_letters: int = 0
    """Errors when no blank counts."""
    missed: int = 0
    """Letters that no line has; they are among the errors."""
    lines: int = 0
    """Found and read."""
    right_lines: int = 0
    """Without an error."""

    def __add__(self, other: Count) -> Count:
        return Count(**{name: value + getattr(other, name) for name, value in asdict(self).items()})

    @property
    def cer(self) -> float:
        """Character error rate."""
        return self.errors / max(1, self.characters)


def distance(one: str, other: str) -> int:
    """Characters to insert, leave out or replace (Levenshtein), by rows of Wagner and Fischer's table."""
    letters = np.array([ord(letter) for letter in other], np.int64)
    places = np.arange(len(other) + 1)
    row = places
    for number, letter in enumerate(one, 1):
        above = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        # Going right costs one a step: the least of all that lies to the left, each with its way.
        row = np.minimum.accumulate(np.concatenate(([number], above)) - places) + places
    return int(row[-1])


def owners(characters: Sequence[Character], quads: Sequence[Quad]) -> list[int | None]:
    """The line that each character is printed in."""
    if not quads or not characters:
        return [None] * len(characters)
    points = np.array([(character.x, character.y) for character in characters])
    corners = np.array(quads, float)
    sides = np.roll(corners, -1, axis=1) - corners
    to_points = points[:, None, None] - corners
    inwards = sides[..., 0] * to_points[..., 1] - sides[..., 1] * to_points[..., 0]
    depths = inwards / np.maximum(np.hypot(sides[..., 0], sides[..., 1]), 1e-9)
    off_middle = np.abs(depths[..., 0] - depths[..., 2])
    off_middle[(depths < 0).any(axis=-1)] = math.inf
    nearest = off_middle.argmin(axis=1)
    return [
        int(line) if math.isfinite(off_middle[number, line]) else None for number, line in enumerate(nearest.tolist())
    ]


def truths(characters: Sequence[Character], quads: Sequence[Quad]) -> tuple[list[str], int]:
    """What each line should say, and how many letters are in none."""
    lines: list[list[Character]] = [[] for _ in quads]
    missed = 0
    for character, owner in zip(characters, owners(characters, quads), strict=True):
        if owner is None:
            missed += len(character.text)
        else:
            lines[owner].append(character)
    ordered = (sorted(line, key=lambda character: character.x) for line in lines)
    return [
        fold("".join(" " * character.starts_word + character.text for character in line)) for line in ordered
    ], missed


def count(page: Page, found: Found) -> Count:
    """What is right and wrong of one page."""
    true, missed = truths(page.characters, [quad for quad, _ in found])
    said = [fold(text) for _, text in found]
    letters = sum(len(character.text) for character in page.characters)
    return Count(
        characters=letters + sum(character.starts_word for character in page.characters),
        errors=missed + sum(map(distance, said, true)),
        letters=letters,
        wrong_letters=missed + sum(map(distance, map(_solid, said), map(_solid, true))),
        missed=missed,
        lines=len(said),
        right_lines=sum(a == b for a, b in zip(said, true, strict=True)),
    )


def _solid(text: str) -> str:
    return text.replace(" ", "")


def by_platoon(engine: TextEngine, papers: Sequence[Page]) -> list[Found]:
    """The pages as `Reader` reads them."""
    reader = Reader(engine)
    return [[(line.quad, line.text) for line in reader.read([page.picture])[0].lines] for page in papers]


def by_rapid(options: Mapping[str, Any], papers: Sequence[Page]) -> list[Found]:
    """The pages as RapidOCR reads them."""
    one = Rapid(**options)
    return [one.read_with_places(page.picture) for page in papers]


@contextmanager
def opened(settings: Settings, *, precision: str, pixels: PixelInput = detection.INPUT) -> Iterator[TextEngine]:
    """An engine whose detector sees pixels normalised like this."""
    chosen = settings.engine.model_copy(update={"precision": precision})
    with mock.patch.object(detection, "INPUT", pixels), TextEngine(chosen, settings.cache, Metrics()) as engine:
        yield engine


class SameWidth:
    """Platoon's own graph for lines, fed as RapidOCR feeds a line that is alone.

    So whatever else differs in what the two say would be the graph's surgery, its runtime, the resampling, the
    normalisation or the decoding.
    """

    def __init__(self, settings: EngineSettings, tuning: Tuning) -> None:
        graph, self._alphabet = recognition_graph()
        self._runtime = open_runtime(graph, settings, tuning, example=(1, HEIGHT, MIN_WIDTH, 3))

    def read(self, line: Pixels) -> str:
        """What the line says."""
        classes, scores = self._runtime(as_rapidocr(line)[None])
        return decode(classes[0], scores[0], self._alphabet).text

    def close(self) -> None:
        """Free the model."""
        self._runtime.close()


def as_rapidocr(line: Pixels) -> Pixels:
    """The model's input for a line that is alone, as RapidOCR makes it: of any width from 320 on."""
    height, width = line.shape[:2]
    padded = int(HEIGHT * max(MIN_WIDTH / HEIGHT, width / height))
    scaled = min(padded, math.ceil(HEIGHT * width / height))
    fitted = np.full((HEIGHT, padded, 3), PADDING, np.uint8)
    fitted[:, :scaled] = cv2.resize(line, (scaled, HEIGHT), interpolation=cv2.INTER_LINEAR)
    return fitted


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of one picture, cut out."""

    pictures: Sequence[Pixels]
    truths: Sequence[str] | None = None
    """What they say, if that is known."""


def lines_of(page: Page, found: Found) -> Lines:
    """Those of its lines in which there is something."""
    quads = [quad for quad, _ in found]
    printed = [(quad, text) for quad, text in zip(quads, truths(page.characters, quads)[0], strict=True) if text]
    return Lines([cut(page.picture, quad) for quad, _ in printed], [text for _, text in printed])


def lines_of_plates(engine: TextEngine, crops: Sequence[Pixels]) -> list[Lines]:
    """Those that are found on each plate."""
    readings = read(engine, crops, PLATES, RequestContext(Priority.BULK, time.monotonic() + 600))
    return [Lines([cut(crop, quad) for quad in reading.found]) for crop, reading in zip(crops, readings, strict=True)]


def same_text(engine: TextEngine, same_width: SameWidth, lines: Sequence[Lines]) -> dict[str, Any]:
    """How many lines get the very text that RapidOCR gives them alone; and how many are right, if that is known."""
    one = Rapid(**rapid.EXACT)
    pictures = [picture for some in lines for picture in some.pictures]
    alone = [one.read_line(picture) for picture in pictures]
    said = {
        "platoon": [reply.result().text for reply in engine.read_lines(pictures)],
        "platoon, at rapidocr's width": [same_width.read(picture) for picture in pictures],
        "rapidocr, by six": [text for some in lines for text in one.read_together(some.pictures)],
    }
    found: dict[str, Any] = {"lines": len(pictures), "same": {}}
    for name, texts in said.items():
        found["same"][name] = sum(a.strip() == b.strip() for a, b in zip(texts, alone, strict=True))
    if all(some.truths is not None for some in lines):
        true = [text for some in lines for text in some.truths or ()]
        found["right"] = {
            name: sum(fold(a) == b for a, b in zip(texts, true, strict=True))
            for name, texts in {"rapidocr, alone": alone, **said}.items()
        }
    return found


def run(papers: Sequence[Page], share: float, progress: Callable[[str], None]) -> dict[str, Any]:
    """Measure everything; the results as they are kept. `progress` hears what is being done."""
    read_by: dict[str, list[Found]] = {}

    def some_of(things: Sequence[Thing], most: int) -> list[Thing]:
        return spread(things, max(1, round(most * share)))

    with tempfile.TemporaryDirectory(prefix="platoon-bench-") as scratch:
        settings = Settings(cache=Path(scratch))
        progress("RapidOCR")
        read_by["rapidocr"] = by_rapid({}, papers)
        read_by["rapidocr tuned"] = by_rapid({**rapid.TUNED, **rapid.PAGE}, papers)
        progress("Platoon")
        with opened(settings, precision="auto") as engine:
            read_by["platoon"] = by_platoon(engine, papers)
        progress("Platoon, pixels normalised as RapidOCR does")
        with opened(settings, precision="float32", pixels=HALF) as engine:
            read_by[HALVED] = by_platoon(engine, papers)
        progress("Platoon in float32")
        with opened(settings, precision="float32") as engine:
            read_by[FLOAT32] = by_platoon(engine, papers)
            progress("the same lines")
            kind, crops = plate_crops()
            plates = lines_of_plates(engine, some_of(crops, PLATES_OF_LINES))
            read_pages = list(zip(papers, read_by[FLOAT32], strict=True))
            cut_pages = [lines_of(page, found) for page, found in some_of(read_pages, PAGES_OF_LINES)]
            float32 = settings.engine.model_copy(update={"precision": "float32"})
            same_width = SameWidth(float32, Tuning(settings.cache))
            same = {
                "pages": same_text(engine, same_width, cut_pages),
                f"{kind} plates": same_text(engine, same_width, plates),
            }
            same_width.close()
    counts = {name: list(map(count, papers, found)) for name, found in read_by.items()}
    sums = {name: sum(each, Count()) for name, each in counts.items()}
    results = {
        "machine": report.machine(),
        "pages": [
            {
                "page": page.name,
                "characters": counts["platoon"][number].characters,
                "errors": {name: each[number].errors for name, each in counts.items()},
            }
            for number, page in enumerate(papers)
        ],
        "read": {name: _figures(one) for name, one in sums.items()},
        "ratios": {f"{one} / {other}": ratio(counts[one], counts[other]) for one, other in COMPARED},
        "same_text": same,
    }
    return {**results, "aims": list(aims(results))}


def ratio(some: Sequence[Count], others: Sequence[Count]) -> dict[str, float]:
    """How the errors of two that read the same pages compare, and the 95 % interval of that (bootstrap over pages)."""
    errors = np.array([(a.errors, b.errors) for a, b in zip(some, others, strict=True)], float)
    drawn = np.random.default_rng(7).integers(0, len(errors), (RESAMPLED, len(errors)))
    ours, theirs = errors[drawn].sum(axis=1).T
    low, high = np.percentile(ours / np.maximum(1, theirs), (2.5, 97.5))
    ours, theirs = errors.sum(axis=0)
    return {"ratio": float(ours / max(1, theirs)), "low": float(low), "high": float(high)}


def _figures(one: Count) -> dict[str, Any]:
    return {**asdict(one), "cer": one.cer, "cer_without_blanks": one.wrong_letters / max(1, one.letters)}


def aims(results: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was reached of what is aimed at."""
    for one, other in AIMED:
        reached = results["ratios"][f"{one} / {other}"]["ratio"]
        yield {"aim": f"errors, {one} / {other}", "reached": reached, "bound": -1.0, "met": reached <= 1.0}
    for kind, lines in results["same_text"].items():
        for name, same in lines["same"].items():
            if name.startswith("platoon"):
                reached = same / lines["lines"]
                aim = f"lines of {kind} with RapidOCR's very text, {name}"
                yield {"aim": aim, "reached": reached, "bound": 0.99, "met": reached >= 0.99}


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as tables."""
    console.print(f"{len(results['pages'])} pages, {results['read']['platoon']['characters']} characters")
    table = Table("read by", "errors", "CER", "CER without blanks", "letters missed", "lines", "of them right")
    for name, one in results["read"].items():
        rates = (f"{one['cer']:.3%}", f"{one['cer_without_blanks']:.3%}")
        table.add_row(name, str(one["errors"]), *rates, *(str(one[key]) for key in ("missed", "lines", "right_lines")))
    console.print(table)
    for name, one in results["ratios"].items():
        console.print(f"errors, {name}: {one['ratio']:.3f} ({one['low']:.3f} to {one['high']:.3f})", highlight=False)
    table = Table("lines of", "read by", "as RapidOCR alone", "right")
    for kind, one in results["same_text"].items():
        for name in dict.fromkeys((*one["same"], *one.get("right", ()))):
            same, right = one["same"].get(name), one.get("right", {}).get(name)
            cells = ("" if number is None else f"{number} of {one['lines']}" for number in (same, right))
            table.add_row(kind, name, *cells)
    console.print(table)
    console.print(report.reached(results["aims"]))


def main(arguments: Sequence[str] = ()) -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the usual number of pages")
    parser.add_argument("--pdfs", type=Path, default=corpus.PDFS, help="folder with PDF files")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    given = parser.parse_args(arguments)
    known = fold(" ".join(recognition_graph()[1]))
    try:
        papers = corpus.pages(given.pdfs, per_package=max(1, round(PER_PACKAGE * given.share)), known=known)
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error
    console = Console() if sys.stdout.isatty() else Console(width=120)
    with console.status("") as status:
        results = run(papers, given.share, status.update)
    show(results, console)
    given.results.mkdir(parents=True, exist_ok=True)
    report.write(results, given.results / "quality.json")


if __name__ == "__main__":
    main(sys.argv[1:])
