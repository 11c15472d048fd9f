"""The likeliest text of a plate, given what was seen at each position and what plates may say.

No picture tells O from 0 or I from 1 in every lettering; the pattern of the country does. `Grammar.decode` takes every
country's patterns (`countries`) and, beside them, any text at all, as ways in which the text may have come about, and
weighs them by Bayes' rule: how common the country and its pattern are, how many texts the pattern allows, and how
probable the recogniser found each character,

    P(country, pattern, text | picture) ~ P(country) P(pattern | country) P(text | pattern) prod_i P(text_i | picture).

Only characters that the recogniser saw are ever taken, and the twins of these (O and 0, I and 1): a confident reading
that fits no pattern stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from platoon.errors import InvalidSettings
from platoon.plates.countries import DIGITS, LETTERS, Country, Position, load_countries
from platoon.settings import PlateSettings

Distribution = Mapping[str, float]
"""Probability of each character seen at one position, each in 0..1. Those left out share what is left of 1."""

PLATE_ALPHABET = DIGITS + LETTERS

SEEN = 0.02
"""A character below this probability was not seen."""
TWIN = 0.05
"""What was seen of a character counts so much for its twin, however sure the recogniser was: many letterings draw both
alike."""
RARE = 0.01
"""How often a letter stands on a plate that its country does not issue."""
NO_PATTERN = 0.01
"""How common texts of any one length are that no pattern knows, where all plates with a pattern are 1."""
NAMED = 0.01
"""Countries below this probability are not named."""
RIVALS = 16
"""So many patterns have a say in what a plate may be."""

_TWINS = {"O": "0", "0": "O", "I": "1", "1": "I"}
_INDEX_OF = {char: position for position, char in enumerate(PLATE_ALPHABET)}
_TWIN_OF = np.array([_INDEX_OF[_TWINS.get(char, char)] for char in PLATE_ALPHABET])

Floats = NDArray[np.float64]
Texts = NDArray[np.intp]
"""(T, n): texts as indices into `PLATE_ALPHABET`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a plate says."""

    text: str
    raw: str
    """The most probable character of each position, no pattern applied."""
    countries: Mapping[str, float] = field(default_factory=dict)
    """Whose plate it is, with probabilities, likeliest first; what is missing to 1 fits no pattern or is improbable.
    Empty if no pattern fits."""
    looseness: float = 1.0
    """The probability that no vehicle has this text although it fits, 0..1: high if a pattern lets much pass; 1 if none
    fits."""
    likeliest: tuple[tuple[str, float], ...] = ()
    """Texts it may be, with the probability of each, `text` first."""

    @property
    def fits(self) -> bool:
        """Whether any pattern fits."""
        return bool(self.countries)


class _Patterns(NamedTuple):
    """The patterns of one length n; those of all countries that allow the same are one."""

    chances: Floats
    """(K, 36): how often a character stands where a class of characters does; sums to 1."""
    classes: NDArray[np.intp]
    """(R, n): the class at each position."""
    shares: Floats
    """(R, C): of all plates, those of a country that follow this pattern."""
    vehicles: Floats
    """(R,): how many have such plates."""

    def fit(self, texts: Texts) -> Floats:
        """(T, R): how often a pattern gives each text."""
        given: Floats = self.chances[self.classes, texts[:, None, :]].prod(axis=2)
        return given

    def best(self, seen: Floats) -> Texts:
        """For each of the patterns that suit `seen` (n, 36) best the likeliest text that follows it."""
        weighed = seen[:, None, :] * self.chances
        everywhere = np.arange(len(seen))
        strength = weighed.max(axis=2)[everywhere, self.classes].prod(axis=1) * self.shares.sum(axis=1)
        order = np.argsort(-strength, kind="stable")[:RIVALS]
        order = order[strength[order] > 0]
        texts: Texts = weighed.argmax(axis=2)[everywhere, self.classes[order]]
        return texts

    def total(self, seen: Floats) -> float:
        """The probability of all texts together."""
        summed = (seen @ self.chances.T)[np.arange(len(seen)), self.classes].prod(axis=1)
        return float(summed @ self.shares.sum(axis=1))


class Grammar:
    """What plates may say where the countries are as common as the weights say.

    Args:
        weights: how common the plates of each country are, relative to each other, by code; those not named do not
            occur. The code of a country with states (`US`) stands for those of its states that are not named, and `*`
            for all countries that are not; they share the weight by the vehicles they have. None: all of them do.

    Raises:
        InvalidSettings: there is no such country, or none has a weight.
    """

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        known = load_countries()
        priors = _priors(known, weights or {"*": 1.0})
        self._countries = tuple(priors)
        self._by_length = _compile([known[code] for code in priors], np.array(list(priors.values())))

    @property
    def lengths(self) -> tuple[int, ...]:
        """Numbers of characters that some pattern has."""
        return tuple(sorted(self._by_length))

    def decode(self, positions: Sequence[Distribution]) -> Reading:
        """The likeliest text, and whose it is."""
        raw = "".join(max(seen, key=seen.__getitem__) for seen in positions)
        patterns = self._by_length.get(len(raw))
        if patterns is None or not _INDEX_OF.keys() >= set(raw):
            return Reading(raw, raw, likeliest=((raw, 1.0),))
        seen = _possible(raw, positions)
        texts = _texts(raw, seen, patterns)
        fit = patterns.fit(texts)
        by_country = fit @ patterns.shares
        anything = NO_PATTERN / len(PLATE_ALPHABET) ** len(raw)
        likely = seen[np.arange(len(raw)), texts].prod(axis=1) * (by_country.sum(axis=1) + anything)
        likely /= patterns.total(seen) + anything * seen.sum(axis=1).prod()
        order = np.argsort(-likely, kind="stable")
        best = order[0]
        explained = by_country[best].sum()
        whose = by_country[best] / (explained + anything)
        named = [i for i in np.argsort(-whose, kind="stable") if whose[i] >= NAMED] if explained > anything else []
        return Reading(
            text=_spelled(texts[best]),
            raw=raw,
            countries={self._countries[i]: float(whose[i]) for i in named},
            looseness=max(0.0, 1.0 - float(fit[best] @ patterns.vehicles)),
            likeliest=tuple((_spelled(texts[i]), float(likely[i])) for i in order),
        )


class SiteGrammar:
    """The grammar of each camera, as the settings weigh countries.

    Raises:
        InvalidSettings: as `Grammar`.
    """

    def __init__(self, settings: PlateSettings) -> None:
        self._site = Grammar(settings.countries)
        self._of = {camera: Grammar(weights) for camera, weights in settings.camera_countries.items()}

    def of(self, camera: str) -> Grammar:
        """That of one camera, by its id."""
        return self._of.get(camera, self._site)


def _possible(raw: str, positions: Sequence[Distribution]) -> Floats:
    """(n, 36): how probable each character is that may be meant; 0 for all others."""
    seen = np.empty((len(raw), len(PLATE_ALPHABET)))
    for row, distribution in zip(seen, positions, strict=True):
        left = max(0.0, 1.0 - sum(distribution.values())) / max(1, len(PLATE_ALPHABET) - len(distribution))
        row[:] = min(left, *distribution.values())  # the recogniser gives the likeliest, so others are no likelier
        for char, probability in distribution.items():
            if char in _INDEX_OF:
                row[_INDEX_OF[char]] = probability
    read = np.array([_INDEX_OF[char] for char in raw])[:, None] == np.arange(len(PLATE_ALPHABET))
    # Clocks, years and names become plates too easily if letters and digits are exchanged at will.
    if raw.isdigit() or raw.isalpha():
        return np.where(read, seen, 0.0)
    seen = np.where(read | (seen >= SEEN), seen, 0.0)
    return np.maximum(seen, TWIN * seen[:, _TWIN_OF])


def _texts(raw: str, seen: Floats, patterns: _Patterns) -> Texts:
    """What the plate may say, each text once: as read first, what the patterns make of it, one character otherwise."""
    read = np.array([_INDEX_OF[char] for char in raw])
    otherwise = np.tile(read, (len(raw), 1))
    others = seen.copy()
    others[np.arange(len(raw)), read] = 0.0
    np.fill_diagonal(otherwise, others.argmax(axis=1))
    otherwise = otherwise[others.max(axis=1) > 0]
    texts = np.concatenate([read[None], patterns.best(seen), otherwise])
    _, first = np.unique(texts, axis=0, return_index=True)
    unique: Texts = texts[np.sort(first)]
    return unique


def _spelled(text: NDArray[np.intp]) -> str:
    return "".join(PLATE_ALPHABET[position] for position in text)


def _priors(known: Mapping[str, Country], weights: Mapping[str, float]) -> dict[str, float]:
    """How common each country that occurs is; sums to 1."""
    sharing: dict[str, list[Country]] = {name: [] for name in weights}
    for code, country in known.items():
        name = next((name for name in (code, code.split("-")[0], "*") if name in weights), None)
        if name is not None:
            sharing[name].append(country)
    if unknown := [name for name, countries in sharing.items() if not countries and name not in (*known, "*")]:
        raise InvalidSettings(
            f"there are no patterns for the plates of {', '.join(map(repr, unknown))}; codes are as in 'FR', 'US' and "
            f"'US-NY', and known are {', '.join(known)}"
        )
    priors = {
        country.code: weights[name] * country.vehicles / sum(other.vehicles for other in countries)
        for name, countries in sharing.items()
        for country in countries
    }
    total = sum(priors.values())
    if not total > 0:
        raise InvalidSettings("no country's plates have a weight above 0, so none could occur")
    return {code: prior / total for code, prior in priors.items() if prior > 0}


def _compile(countries: Sequence[Country], priors: Floats) -> dict[int, _Patterns]:
    by_length: dict[int, dict[tuple[Position, ...], Floats]] = {}
    for number, country in enumerate(countries):
        for pattern in country.patterns:
            for positions in pattern.spelled:
                alike = by_length.setdefault(len(positions), {})
                shares = alike.setdefault(positions, np.zeros(len(countries)))
                shares[number] += pattern.share / len(pattern.spelled)
    vehicles = np.array([country.vehicles * 1e6 for country in countries])
    compiled = {}
    for length, alike in by_length.items():
        classes = {
            position: number
            for number, position in enumerate(dict.fromkeys(position for row in alike for position in row))
        }
        shares = np.stack(list(alike.values()))
        compiled[length] = _Patterns(
            chances=np.stack([_chances(position) for position in classes]),
            classes=np.array([[classes[position] for position in row] for row in alike]),
            shares=shares * priors,
            vehicles=shares @ vehicles,
        )
    return compiled


def _chances(position: Position) -> Floats:
    """(36,): how often each character stands at such a position."""
    chances = np.zeros(len(PLATE_ALPHABET))
    rare = RARE if position.rare else 0.0
    for chars, often in ((position.usual, 1.0 - rare), (position.rare, rare)):
        chances[[_INDEX_OF[char] for char in chars]] = often / max(1, len(chars))
    return chances
