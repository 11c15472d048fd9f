"""Draw how a training of the plate detector went: `python -m training.detector.curve FOLDER/log.jsonl curve.svg`."""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

mpl.rcParams["svg.hashsalt"] = "platoon"  # the same log gives the same file


def draw(log: Path, path: Path) -> None:
    """Losses by part, and average precision on the frames held out, over the steps."""
    notes = [json.loads(line) for line in log.read_text().splitlines()]
    losses: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for note in notes:
        for part in ("heat", "box", "corners"):
            if part in note:
                losses[part].append((note["step"], note[part]))
    figure = Figure((9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for part, points in losses.items():
        left.plot(*zip(*points, strict=True), label=part, linewidth=1)
    left.set(xlabel="step", ylabel="loss", yscale="log")
    left.legend(frameon=False)
    for key, label in (("average_precision", "average precision"), ("recall", "recall from a score of 0.5")):
        points = [(note["step"], note[key]) for note in notes if key in note]
        right.plot(*zip(*points, strict=True), label=label, linewidth=1)
    right.set(xlabel="step", ylabel="frames held out, IoU 0.5", ylim=(0.6, 1.0))
    right.legend(frameon=False)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("path", type=Path)
    given = parser.parse_args()
    draw(given.log, given.path)


if __name__ == "__main__":
    main()
