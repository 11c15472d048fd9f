"""How right the reader is on photographs whose plates are known: `python -m training.reader.measure MODEL DIR...`.

Each DIR holds pictures and `truth.tsv` with the columns image, x, y, width, height (the upright box of the plate, in
pixels) and text.
"""

from __future__ import annotations

import csv
import heapq
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.reader import ALPHABET, HEIGHT, NONE, WIDTH

SLACK = 0.03
"""Of the box's size, added on each side."""
_FOLD = str.maketrans("OI", "01")

Read = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Pictures (N, 64, 192, 3) to probabilities (N, 10, 37)."""


@dataclass(frozen=True)
class Row:
    """One plate, as it is and as it was read."""

    image: str
    truth: str
    read: tuple[str, ...]
    """The three likeliest texts."""
    confidence: float
    """Product of the probabilities of all positions."""


@dataclass(frozen=True)
class Result:
    """The plates of one folder."""

    rows: list[Row]

    def figures(self) -> dict[str, float]:
        """How many were right: exactly, with O = 0 and I = 1, and among the three likeliest."""
        return {
            "of": len(self.rows),
            "exact": sum(row.read[0] == row.truth for row in self.rows),
            "folded": sum(row.read[0].translate(_FOLD) == row.truth.translate(_FOLD) for row in self.rows),
            "top3": sum(row.truth in row.read for row in self.rows),
        }


def measure_folder(read: Read, folder: Path) -> Result:
    """Read every plate of `folder`."""
    with (folder / "truth.tsv").open(encoding="utf-8", newline="") as file:
        plates = list(csv.DictReader(file, delimiter="\t"))
    said = read(np.stack([crop(folder / plate["image"], plate) for plate in plates]))
    return Result(
        [Row(plate["image"], plate["text"], likeliest(one), float(one.max(-1).prod()))
         for plate, one in zip(plates, said, strict=True)]
    )  # fmt: skip


def crop(path: Path, box: dict[str, str]) -> NDArray[np.uint8]:
    """The box of a plate, with some slack, as the reader takes it."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError(f"{path} is no picture")
    x, y, width, height = (float(box[name]) for name in ("x", "y", "width", "height"))
    left, right = x - SLACK * width, x + (1 + SLACK) * width
    upper, lower = y - SLACK * height, y + (1 + SLACK) * height
    rows, columns = slice(max(0, round(upper)), round(lower)), slice(max(0, round(left)), round(right))
    return fitted(picture[rows, columns])


def fitted(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Any picture of a plate at the reader's size."""
    interpolation = cv2.INTER_AREA if picture.shape[0] > HEIGHT else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (WIDTH, HEIGHT), interpolation=interpolation), np.uint8)


def likeliest(probabilities: NDArray[np.float32], count: int = 3) -> tuple[str, ...]:
    """The likeliest texts of one plate, best first."""
    texts = {"": 1.0}
    for position in probabilities:
        grown: dict[str, float] = {}
        for text, before in texts.items():
            for index in np.argsort(position)[: -count - 2 : -1]:
                longer = text if index == NONE else text + ALPHABET[index]
                grown[longer] = grown.get(longer, 0.0) + before * float(position[index])
        texts = dict(heapq.nlargest(4 * count, grown.items(), key=lambda item: item[1]))
    return tuple(heapq.nlargest(count, texts, key=texts.__getitem__))


def main() -> None:
    """The command: figures of each folder, and what was read wrong."""
    import onnxruntime

    session = onnxruntime.InferenceSession(sys.argv[1])
    for folder in map(Path, sys.argv[2:]):
        result = measure_folder(lambda pictures: session.run(None, {"pixels": pictures})[0], folder)
        print(folder.name, result.figures())
        for row in result.rows:
            if row.read[0] != row.truth:
                print(f"  {row.truth:10} {' '.join(row.read):32} {row.confidence:.2f} {row.image}")


if __name__ == "__main__":
    main()
