"""Does a confidence of 0.9 mean that nine of ten such texts are right?

Takes what `accuracy` and `vehicles` have kept: of each answer how sure it was, and whether it was right, O and 0, I and
1 taken as one. Prints the expected calibration error (Guo et al., ICML 2017: the mean distance between confidence and
share of right answers over ten bins, by their number), and for some thresholds how many answers are as sure and how
many of these are right, from which thresholds are chosen; draws the reliability diagram. None of these answers was used
to make the reader as sure as it is: that is done on drawn plates when its weights are written (`training.reader`).

python -m benchmarks.calibration [--results FOLDER]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks import report
from benchmarks.chart import STYLE, label

RESULTS = Path(__file__).parent / "results"
SOURCES = {"photographs": "accuracy.json", "clips": "vehicles.json"}
BINS = 10
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
PANEL_PX, SIDE_PX, TOP_PX, LEFT_PX = 400, 300, 40, 60
COLOUR = "#1a7f5a"

Answers = Sequence[tuple[float, bool]]
"""How sure, 0 to 1, and whether it was right."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers that were about equally sure."""

    count: int
    confidence: float
    """On average."""
    right: float
    """Share of them."""


def bins(answers: Answers) -> list[Bin]:
    """The answers in `BINS` ranges of equal width; empty ones are left out."""
    by_range: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in answers:
        by_range.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, right))
    found = []
    for _, some in sorted(by_range.items()):
        sure, right = np.array(some, float).mean(axis=0)
        found.append(Bin(len(some), float(sure), float(right)))
    return found


def calibration_error(answers: Answers) -> float:
    """The expected calibration error, 0 to 1."""
    found = bins(answers)
    return sum(one.count * abs(one.confidence - one.right) for one in found) / max(1, len(answers))


def run(sources: Mapping[str, Answers]) -> dict[str, Any]:
    """The results as they are kept."""
    found: dict[str, Any] = {"machine": report.machine(), "of": {}}
    for name, answers in sources.items():
        found["of"][name] = {
            "answers": len(answers),
            "right": sum(right for _, right in answers) / max(1, len(answers)),
            "error": calibration_error(answers),
            "bins": [[one.count, one.confidence, one.right] for one in bins(answers)],
            "as_sure": {str(bound): _as_sure(answers, bound) for bound in THRESHOLDS},
        }
    return found


def _as_sure(answers: Answers, bound: float) -> tuple[int, int]:
    """How many answers are that sure, and how many of these are right."""
    sure = [right for confidence, right in answers if confidence >= bound]
    return len(sure), sum(sure)


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print all as a table."""
    bounds = (f"right from {bound:g}" for bound in THRESHOLDS)
    table = Table("answers from", "number", "right", "calibration error", *bounds)
    for name, one in results["of"].items():
        sure = (f"{right} of {count}" for count, right in one["as_sure"].values())
        table.add_row(name, str(one["answers"]), f"{one['right']:.1%}", f"{one['error']:.1%}", *sure)
    console.print(table)


def draw(results: Mapping[str, Any]) -> str:
    """The reliability diagram as SVG: a panel for each source, a circle for each bin, as large as it has answers."""
    shown = results["of"]
    height = TOP_PX + SIDE_PX + 60
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PANEL_PX * len(shown)} {height}"><style>{STYLE}']
    parts.append("circle { fill-opacity: 0.65 } .rule { stroke-dasharray: 4 4 }</style>")
    for number, (name, one) in enumerate(shown.items()):
        left, floor = LEFT_PX + number * PANEL_PX, TOP_PX + SIDE_PX
        parts.append(label(left, 22, f"{name[0].upper()}{name[1:]}: {one['answers']} answers", "title"))
        for tick in (0.0, 0.5, 1.0):
            parts.append(label(left + tick * SIDE_PX, floor + 18, f"{tick:g}", "group"))
            parts.append(label(left - 28, floor - tick * SIDE_PX + 4, f"{tick:g}"))
        parts.append(f'<line x1="{left}" y1="{floor}" x2="{left + SIDE_PX}" y2="{floor}"/>')
        parts.append(f'<line x1="{left}" y1="{floor}" x2="{left}" y2="{TOP_PX}"/>')
        parts.append(f'<line class="rule" x1="{left}" y1="{floor}" x2="{left + SIDE_PX}" y2="{TOP_PX}"/>')
        parts.append(label(left + SIDE_PX / 2, floor + 40, "confidence; upwards: share that is right", "group"))
        for count, confidence, right in one["bins"]:
            place = f'cx="{left + confidence * SIDE_PX:.1f}" cy="{floor - right * SIDE_PX:.1f}"'
            radius = 3 + 14 * (count / max(one["answers"], 1)) ** 0.5
            parts.append(f'<circle {place} r="{radius:.1f}" fill="{COLOUR}"/>')
    return "\n".join([*parts, "</svg>", ""])


def kept(path: Path) -> list[tuple[float, bool]]:
    """The answers that a benchmark kept at `path`.

    Raises:
        SystemExit: it has not been run, or not since it keeps answers.
    """
    tree = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    answers = tree.get("answers")
    if answers is None:
        raise SystemExit(f"no answers in {path}; run benchmarks.accuracy and benchmarks.vehicles first")
    return [(float(confidence), bool(right)) for confidence, right in answers]


def main(arguments: Sequence[str] = ()) -> None:
    """Compare, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to read from and write to")
    given = parser.parse_args(arguments)
    results = run({name: kept(given.results / file) for name, file in SOURCES.items()})
    show(results, Console() if sys.stdout.isatty() else Console(width=120))
    report.write(results, given.results / "calibration.json")
    (given.results / "calibration.svg").write_text(draw(results), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
