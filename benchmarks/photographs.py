"""Photographs of vehicles whose plates are known: where they lie, and whether what was read of them is right.

A folder of them has pictures and a `truth.tsv` with the columns image, x, y, width, height, text: the plate's box in
pixels of the picture, and what it says. Or it has such folders, one for each country or any other kind.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platoon.plates.recorded import FoundPlate
from platoon.plates.vote import fold

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""

OVERLAP = 0.5
"""Intersection over union from which on a found plate is the true one."""
WITHIN, WIDE = 0.7, 0.5
"""A line of text is the plate's if so much of the line lies within the plate, and it is as wide as so much of it."""
FIRST = 3
"""Answers of which one must be right."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """A picture with one plate whose text is known; others may be in it too."""

    kind: str
    """The name of its folder, as of a country."""
    path: Path
    box: Box
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one reader made of one photograph."""

    photograph: Photograph
    found: Sequence[FoundPlate]
    """Best first."""
    cpu_s: float

    @property
    def text(self) -> str:
        """What it says the plate is; empty: it found none."""
        return self.found[0].text if self.found else ""

    @property
    def confidence(self) -> float:
        """How sure it is of that, 0 where it found none."""
        return self.found[0].confidence if self.found else 0.0

    @property
    def overlaps(self) -> bool:
        """Whether some found plate's box is the true one's by intersection over union."""
        return any(iou(plate.box, self.photograph.box) >= OVERLAP for plate in self.found)

    @property
    def located(self) -> bool:
        """Whether some found plate is the true one, be it found as a plate or as the line of text on it."""
        return any(is_at(plate.box, self.photograph.box) for plate in self.found)

    @property
    def exact(self) -> bool:
        """Whether the first answer is right in every character."""
        return self.text == self.photograph.text

    @property
    def folded(self) -> bool:
        """The same with O and 0, I and 1 taken as one, which people who typed the truth mixed."""
        return fold(self.text) == fold(self.photograph.text)

    @property
    def among_first(self) -> bool:
        """Whether one of the first `FIRST` answers is right."""
        return self.photograph.text in answers(self.found)[:FIRST]


@dataclass(frozen=True, slots=True)
class Score:
    """Shares, 0 to 1, over some photographs."""

    pictures: int
    located: float
    overlaps: float
    exact: float
    folded: float
    among_first: float
    cpu_ms: float
    """CPU milliseconds per picture, all threads together."""


def photographs(folder: Path) -> list[Photograph]:
    """All of a folder, by kind and name.

    Raises:
        FileNotFoundError: there is no truth in it.
        ValueError: a truth misses a column, or has something else than whole numbers as a box.
    """
    truths = sorted({*folder.glob("truth.tsv"), *folder.glob("*/truth.tsv")})
    if not truths:
        raise FileNotFoundError(f"no truth.tsv in {folder} or a folder in it")
    return [photograph for truth in truths for photograph in _of(truth)]


def _of(truth: Path) -> list[Photograph]:
    with truth.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = []
    for row in rows:
        try:
            x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
            path, text = truth.parent / row["image"], bare(row["text"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{truth}: expected image, x, y, width, height and text, got {row}") from error
        found.append(Photograph(truth.parent.name, path, (x, y, x + width, y + height), text))
    return sorted(found, key=lambda photograph: photograph.path.name)


def bare(text: str) -> str:
    """Its letters and digits, in capitals."""
    return "".join(character for character in text.upper() if character.isascii() and character.isalnum())


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes."""
    shared = _shared(one, other)
    return shared / max(_area(one) + _area(other) - shared, 1e-9)


def is_at(found: Sequence[float], true: Sequence[float]) -> bool:
    """Whether a found box is the true plate's: by `OVERLAP`, or as the line of text on it."""
    if iou(found, true) >= OVERLAP:
        return True
    within = _shared(found, true) / max(_area(found), 1e-9)
    wide = (min(found[2], true[2]) - max(found[0], true[0])) / max(true[2] - true[0], 1e-9)
    return within >= WITHIN and wide >= WIDE


def answers(found: Sequence[FoundPlate]) -> list[str]:
    """What was read, best first: each plate's text, and what else it may say, before the next plate's."""
    texts = (text for plate in found for text in (plate.text, *(text for text, _ in plate.candidates)))
    return list(dict.fromkeys(texts))


def score(outcomes: Sequence[Outcome]) -> Score:
    """The shares over some outcomes, at least one."""
    count = len(outcomes)

    def share(name: str) -> float:
        return sum(bool(getattr(outcome, name)) for outcome in outcomes) / count

    return Score(
        pictures=count,
        cpu_ms=1000 * sum(outcome.cpu_s for outcome in outcomes) / count,
        **{name: share(name) for name in ("located", "overlaps", "exact", "folded", "among_first")},
    )


def worst(outcomes: Sequence[Outcome], count: int) -> list[Outcome]:
    """The wrong answers that were surest, and last those where nothing was found."""
    wrong = [outcome for outcome in outcomes if not outcome.folded]
    return sorted(wrong, key=lambda outcome: -outcome.confidence)[:count]


def _shared(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _area(box: Sequence[float]) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))
