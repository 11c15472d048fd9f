"""What plates may say: patterns of countries as data, and the reading that fits one best.

A recogniser cannot tell O from 0 or I from 1 by their shape; the pattern of the country can. `Grammar.decode` rescores
the alternatives of each position against all patterns. It changes a character only into one that looks like it, and
for all pairs but O/0 and I/1 only if the recogniser itself saw the other one: a confident reading that fits no pattern
stays as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

Distribution = Mapping[str, float]
"""Probability of each character seen at one position, each in 0..1."""

PLATE_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_SAME_SHAPE = {"O": "0", "0": "O", "I": "1", "1": "I"}
_ALIKE = {
    "O": "DQ", "0": "DQ", "D": "0O", "Q": "0O", "B": "8", "8": "B", "S": "5", "5": "S", "Z": "27", "2": "Z",
    "G": "6", "6": "G", "I": "L", "1": "LT7", "L": "1", "T": "17", "7": "1TZ", "A": "4", "4": "A", "U": "V", "V": "UY",
    "Y": "V", "M": "N", "N": "M", "E": "F", "F": "E", "P": "R", "R": "P",
}  # fmt: skip
_SEEN = 0.02
"""A look-alike below this probability was not seen."""
_SAME_SHAPE_COST = 0.15
_ALIKE_COST = 1.0

# Each letter stands for one position: L a letter, D a digit, anything else for itself; {m,n} repeats.
# The figure is a pattern's looseness: it ranks patterns that let much pass behind those that say more.
_PATTERNS: dict[str, tuple[tuple[str, float], ...]] = {
    "AT": (("L{1,2}D{1,5}L{1,3}", 0.5),),
    "AU": (("LLLDDL", 0.2), ("LLLDDD", 0.0), ("DLLDLL", 0.0), ("LLDDLL", 0.2), ("DLLDDD", 0.1), ("LDDDLLL", 0.3)),
    "BE": (("DLLLDDD", 0.0), ("LLLDDD", 0.0)),
    "BG": (("L{1,2}DDDDLL", 0.0),),
    "BR": (("LLLDDDD", 0.0), ("LLLDLDD", 0.0)),
    "CY": (("LLLDDD", 0.0),),
    "CZ": (("[1-9]LDDDDD", 0.1), ("[1-9]LLDDDD", 0.1), ("[1-9]LDLDDD", 0.3)),
    "DE": (("L{1,3}L{1,2}[1-9]D{0,3}[EH]?", 0.6),),
    "DK": (("LLDDDDD", 0.0),),
    "EE": (("DDDLLL", 0.0),),
    "ES": (("DDDDLLL", 0.0), ("L{1,2}DDDDL{1,2}", 0.4)),
    "FI": (("LLLDDD", 0.0), ("LL[1-9]D{0,2}", 0.5)),
    "FR": (("LLDDDLL", 0.0), ("D{1,4}L{2,3}DD", 0.4)),
    "GB": (("LLDDLLL", 0.0), ("LD{1,3}LLL", 0.3), ("LLLD{1,3}L", 0.3), ("LLLD{1,4}", 0.5)),
    "GR": (("LLLDDDD", 0.0),),
    "HR": (("LLD{3,4}L{1,2}", 0.2),),
    "HU": (("LLLDDD", 0.0), ("LLLLDDD", 0.1)),
    "IE": (("DD[1-2]L{1,2}D{1,6}", 0.4), ("DDL{1,2}D{1,6}", 0.5)),
    "IN": (("LLDDL{1,3}DDDD", 0.0), ("DDBHDDDDL{1,2}", 0.0)),
    "IT": (("LLDDDLL", 0.0),),
    "LT": (("LLLDDD", 0.0),),
    "LU": (("LLDDDD", 0.0),),
    "LV": (("LLD{3,4}", 0.3),),
    "MT": (("LLLDDD", 0.0),),
    "NL": (
        ("LLDDDD", 0.0), ("DDDDLL", 0.0), ("DDLLDD", 0.0), ("LLDDLL", 0.0), ("LLLLDD", 0.4), ("DDLLLL", 0.1),
        ("DDLLLD", 0.1), ("DLLLDD", 0.1), ("LLDDDL", 0.1), ("LDDDLL", 0.1), ("LLLDDL", 0.1), ("LDDLLL", 0.1),
        ("DLLDDD", 0.1), ("DDDLLD", 0.1),
    ),
    "NZ": (("LLLDDD", 0.0), ("LLDDDD", 0.1)),
    "PL": (("L{2,3}D{4,5}", 0.2), ("L{2,3}D{2,4}L{1,2}", 0.4), ("L{2,3}DLDDD?", 0.5)),
    "PT": (("LLDDLL", 0.0), ("DDDDLL", 0.0), ("DDLLDD", 0.0), ("LLDDDD", 0.0)),
    "RO": (("L{1,2}DD{1,2}LLL", 0.1),),
    "SE": (("LLLDDD", 0.0), ("LLLDDL", 0.1)),
    "SI": (("LLD{3,4}L{1,2}", 0.3), ("LLL{2}D{3}", 0.5)),
    "SK": (("LLDDDLL", 0.0),),
    "TR": (("DDL{1,3}D{2,4}", 0.2),),
    "UA": (("LLDDDDLL", 0.0),),
    "US": (
        ("DLLLDDD", 0.0), ("LLLDDDD", 0.0), ("LLLDDD", 0.0), ("DDDLLL", 0.1), ("DDLDDD", 0.3), ("LDDDDD", 0.3),
        ("LDDLLL", 0.2), ("LLDDDDD", 0.2), ("DDDLLD", 0.3), ("DLLDDD", 0.2), ("DLDDDD", 0.3), ("LLDLDL", 0.4),
        ("DDDDLL", 0.2), ("LDDDDDD", 0.3), ("DDDDDLL", 0.3), ("LLLDLD", 0.4), ("DDDLLDD", 0.4), ("DLLDLDD", 0.5),
        ("D{7}", 0.6),
    ),
    "VN": (("DDLD{4,6}", 0.2), ("DDLDD{4,5}", 0.3)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """What a plate says by its best pattern."""

    text: str
    raw: str
    """The most probable character of each position, no pattern applied."""
    countries: tuple[str, ...]
    """Those whose pattern fits, likeliest first; empty if none does."""
    looseness: float = math.inf
    """How much the tightest of these patterns lets pass, from 0 (little) to 1."""

    @property
    def fits(self) -> bool:
        """Whether any pattern fits."""
        return bool(self.countries)


class Grammar:
    """The patterns of some countries, compiled."""

    def __init__(self, countries: Sequence[str] | None = None) -> None:
        chosen = _PATTERNS if countries is None else {country: _PATTERNS[country] for country in countries}
        self._by_length: dict[int, dict[tuple[str, ...], dict[str, float]]] = {}
        for country, patterns in chosen.items():
            for pattern, cost in patterns:
                for positions in _expand(pattern):
                    costs = self._by_length.setdefault(len(positions), {}).setdefault(positions, {})
                    costs[country] = min(cost, costs.get(country, math.inf))

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """Numbers of characters that some pattern has."""
        return tuple(sorted(self._by_length))

    def decode(self, positions: Sequence[Distribution]) -> Reading:
        """The cheapest reading: changes and the looseness of its pattern cost, a raw text that fits is best."""
        raw = "".join(max(seen, key=seen.__getitem__) for seen in positions)
        if not raw.isdigit() and not raw.isalpha():
            return self._fitted(raw, positions)
        # Clocks, years and names become plates too easily if letters and digits are exchanged at will.
        exact = [{char: 1.0} for char in raw]
        reading = self._fitted(raw, exact)
        return reading if reading.text == raw else Reading(raw, raw, ())

    def _fitted(self, raw: str, positions: Sequence[Distribution]) -> Reading:
        best_text, best_total = raw, math.inf
        fitting: dict[str, float] = {}
        looseness = math.inf
        for classes, costs in self._by_length.get(len(raw), {}).items():
            changed = _fit(raw, positions, classes)
            if changed is None:
                continue
            text, cost = changed
            for country, pattern_cost in costs.items():
                total = cost + pattern_cost
                if total < best_total - 1e-9 and text != best_text:
                    fitting, looseness = {}, math.inf
                if total < best_total:
                    best_text, best_total = text, total
                if text == best_text:
                    fitting[country] = min(total, fitting.get(country, math.inf))
                    looseness = min(looseness, pattern_cost)
        return Reading(best_text, raw, tuple(sorted(fitting, key=fitting.__getitem__)), looseness)


def _fit(raw: str, positions: Sequence[Distribution], classes: tuple[str, ...]) -> tuple[str, float] | None:
    """`raw` with as few look-alikes exchanged as the classes demand, and what that costs; None if it cannot fit."""
    text, cost = [], 0.0
    for char, seen, allowed in zip(raw, positions, classes, strict=True):
        if char in allowed:
            text.append(char)
            continue
        twin = _SAME_SHAPE.get(char, "")
        if twin and twin in allowed:
            text.append(twin)
            cost += _SAME_SHAPE_COST
            continue
        likely = [c for c in _ALIKE.get(char, "") if c in allowed and seen.get(c, 0.0) >= _SEEN]
        if not likely:
            return None
        other = max(likely, key=lambda c: seen[c])
        text.append(other)
        cost += _ALIKE_COST + math.log(max(seen[char] / seen[other], 1.0))
    return "".join(text), cost


_CLASSES = {"L": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "D": "0123456789"}
_TOKEN = re.compile(r"(\[[^\]]+\]|[A-Z])(?:\{(\d+)(?:,(\d+))?\}|(\?))?")


def _expand(pattern: str) -> list[tuple[str, ...]]:
    """Every length of a pattern, as the characters allowed at each position."""
    expanded: list[tuple[str, ...]] = [()]
    for token, low, high, optional in _TOKEN.findall(pattern):
        allowed = _CLASSES.get(token) or "".join(
            PLATE_ALPHABET[PLATE_ALPHABET.index(part[0]) : PLATE_ALPHABET.index(part[-1]) + 1]
            for part in re.findall(r".-.|.", token.strip("[]"))
        )
        least = 0 if optional else int(low or 1)
        most = 1 if optional else int(high or low or 1)
        expanded = [head + (allowed,) * times for head in expanded for times in range(least, most + 1)]
    return expanded
