"""Many readings of one plate, fused into one.

Readings of equal length are fused position by position: the weighted mean of their distributions. The length is voted
on first, by weight. The grammar is applied once, to the fused distributions, never to single readings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platoon.ocr.recognition import TextLine
from platoon.plates.grammar import Distribution, Grammar

KEPT_READINGS = 24
"""The heaviest so many readings vote; more change nothing."""

_FOLD = str.maketrans("OI", "01")


def fold(text: str) -> str:
    """`text` with O and 0, I and 1 made one, as no picture tells them apart."""
    return text.translate(_FOLD)


def edit_distance(a: str, b: str) -> int:
    """Insertions, deletions and substitutions between two texts (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


@dataclass(frozen=True, slots=True)
class PlateText:
    """What a plate says: the fused result of one reading or of many."""

    text: str
    raw: str
    """Before the grammar."""
    confidence: float
    """Product of the fused characters' probabilities, 0..1."""
    weakest: float
    """The least sure fused character, 0..1."""
    agreeing: int
    """Readings that say just this (O and 0, I and 1 taken as one)."""
    agreement: float
    """Their share of all readings' weight, 0..1."""
    reads: int
    """Readings that voted, at most `KEPT_READINGS`."""
    countries: Mapping[str, float]
    """Whose it is, with probabilities, likeliest first; see `grammar.Reading`, as for the next two."""
    looseness: float
    likeliest: tuple[tuple[str, float], ...]
    """Texts that the fused characters may be, with the probability of each, `text` first."""
    candidates: tuple[tuple[str, float], ...]
    """Texts of the readings with their share of the weight, most first."""


SURE_PLATE = 0.6
"""From this score on the detector is sure."""
SURE_TEXT = 0.8
"""And the reader, where its least certain character is so."""
LENGTHS = (3, 10)
"""Of plates, in characters, whatever their country."""


def is_certain(text: PlateText, score: float) -> bool:
    """Whether a text is a plate's whatever it says: letters or digits alone, or no country's pattern.

    Where the detector is so sure of a plate and the reader of each character, others are right; of road scenes, pages
    and shop signs hardly any is found so.

    Args:
        score: of the detector, that this is a plate; 0: it knows text only.
    """
    return score >= SURE_PLATE and text.weakest >= SURE_TEXT and LENGTHS[0] <= len(text.text) <= LENGTHS[1]


class Vote:
    """The readings of one track."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._readings: list[tuple[float, tuple[Distribution, ...], str]] = []
        self._result: PlateText | None = None

    def add(self, line: TextLine, weight: float) -> None:
        """One more reading; `weight` > 0 grows with the size of what was read.

        A reading is as good as its worst character, so that counts too: the mean hides one bad letter.
        """
        if not line.text:
            return
        self._result = None
        positions = tuple(dict(candidates) for candidates in line.characters)
        self._readings.append((weight * line.weakest**2, positions, line.text))
        if len(self._readings) > KEPT_READINGS:
            self._readings.remove(min(self._readings, key=lambda reading: reading[0]))

    def result(self) -> PlateText | None:
        """The fused text; None before the first reading."""
        if self._result is None and self._readings:
            self._result = self._fuse()
        return self._result

    def _fuse(self) -> PlateText:
        by_length: dict[int, float] = {}
        for weight, positions, _ in self._readings:
            by_length[len(positions)] = by_length.get(len(positions), 0.0) + weight
        length = max(by_length, key=by_length.__getitem__)
        voters = [(weight, positions) for weight, positions, _ in self._readings if len(positions) == length]
        fused = [_mean([(weight, positions[i]) for weight, positions in voters]) for i in range(length)]
        reading = self._grammar.decode(fused)
        sure = [_support(seen, char) for seen, char in zip(fused, reading.text, strict=True)]
        says = fold(reading.text)
        shares: dict[str, float] = {}
        for weight, _, text in self._readings:
            shown = reading.text if fold(text) == says else text
            shares[shown] = shares.get(shown, 0.0) + weight
        total = sum(shares.values())
        agreeing = [weight for weight, _, text in self._readings if fold(text) in (says, fold(reading.raw))]
        return PlateText(
            text=reading.text,
            raw=reading.raw,
            confidence=math.prod(sure),
            weakest=min(sure),
            agreeing=len(agreeing),
            agreement=sum(agreeing) / total,
            reads=len(self._readings),
            countries=reading.countries,
            looseness=reading.looseness,
            likeliest=reading.likeliest,
            candidates=tuple((text, share / total) for text, share in sorted(shares.items(), key=lambda i: -i[1])[:5]),
        )


def _mean(seen: Sequence[tuple[float, Distribution]]) -> dict[str, float]:
    total = sum(weight for weight, _ in seen) or 1.0
    fused: dict[str, float] = {}
    for weight, distribution in seen:
        for char, probability in distribution.items():
            fused[char] = fused.get(char, 0.0) + weight / total * probability
    return fused


def _support(seen: Distribution, char: str) -> float:
    """How sure `char` is: its own probability and that of its twin, as the grammar alone tells them apart."""
    return min(1.0, sum(probability for other, probability in seen.items() if fold(other) == fold(char)))
