"""Which plates there are: the countries of `countries.toml`, their notation spelled out.

What a pattern allows is said position by position. How readings are weighed against that is left to `grammar`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = "0123456789"


class Position(NamedTuple):
    """What may stand at one position of a plate."""

    usual: str
    """The characters that are issued, in alphabetical order."""
    rare: str = ""
    """Those that are not, but would not break the pattern: other letters."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way a country composes its plates."""

    notation: str
    """As `countries.toml` explains."""
    share: float
    """Of the country's plates, 0..1; the shares of a country sum to 1."""
    spelled: tuple[tuple[Position, ...], ...]
    """Each length that it allows (and each way to it), position by position."""


@dataclass(frozen=True, slots=True)
class Country:
    """A country, or a state that issues plates of its own."""

    code: str
    """ISO 3166-1, or 3166-2 for states: `FR`, `US-NY`."""
    name: str
    vehicles: float
    """Registered there, in millions."""
    patterns: tuple[Pattern, ...]


def load_countries() -> dict[str, Country]:
    """All that are known, by their codes."""
    text = files("platoon.plates").joinpath("countries.toml").read_text(encoding="utf-8")
    entries: dict[str, Mapping[str, Any]] = {}
    for code, entry in tomllib.loads(text).items():
        states = entry if "name" not in entry else {}
        entries |= {f"{code}-{state}": its for state, its in states.items()} or {code: entry}
    return {code: _country(code, entry) for code, entry in sorted(entries.items())}


def spell(notation: str, classes: Mapping[str, Position]) -> tuple[tuple[Position, ...], ...]:
    """Every way to write out a pattern's repetitions.

    Raises:
        ValueError: this is no notation of a pattern.
    """
    spelled: list[tuple[Position, ...]] = [()]
    rest = re.sub(r"[ -]+(?![^\[]*\])", "", notation)
    while rest:
        token = _TOKEN.match(rest)
        if token is None:
            raise ValueError(f"the pattern {notation!r} has no meaning from {rest!r} on")
        rest = rest[token.end() :]
        what, low, high, optional = token.groups()
        position = classes[what] if what in classes else Position(_one_of(what.strip("[]").upper()))
        least = 0 if optional else int(low or 1)
        most = 1 if optional else int(high or low or 1)
        spelled = [head + (position,) * times for head in spelled for times in range(least, most + 1)]
    return tuple(spelled)


_TOKEN = re.compile(r"(\[[A-Z0-9-]+\]|[A-Za-z0-9])(?:\{(\d+)(?:,(\d+))?\}|(\?))?")


def _country(code: str, entry: Mapping[str, Any]) -> Country:
    classes = {"D": Position(DIGITS), "N": Position(DIGITS[1:]), "L": Position(LETTERS)}
    classes |= {name: _letters(said) for name, said in entry.get("classes", {}).items()}
    total = sum(entry["patterns"].values())
    patterns = tuple(
        Pattern(notation, share / total, spell(notation, classes)) for notation, share in entry["patterns"].items()
    )
    return Country(code, entry["name"], entry["vehicles"], patterns)


def _letters(said: str) -> Position:
    """The class that `^IOQ` or `ABC` names; only letters stand beside letters."""
    usual = "".join(sorted(set(LETTERS) - set(said) if said.startswith("^") else said))
    return Position(usual, "".join(char for char in LETTERS if char not in usual) if usual.isalpha() else "")


def _one_of(said: str) -> str:
    """The characters that `A-HJ1` names."""
    alphabet = DIGITS + LETTERS
    spans = [(alphabet.index(part[0]), alphabet.index(part[-1])) for part in re.findall(r".-.|.", said)]
    return "".join(
        char for position, char in enumerate(alphabet) if any(low <= position <= high for low, high in spans)
    )
