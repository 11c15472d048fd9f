"""JSON of strangers: counted before anything is made of it, and its faults said in few words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from platoon.errors import InvalidInput

MAX_KEYS: Final = 10_000
"""Of a request that means something: most have less than a hundred."""
MAX_VALUES: Final = 10_000
MAX_FAULTS: Final = 20
"""That are named one by one."""
_COUNTED: Final = 1_000
"""Faults that are looked at: a body with more is none that anybody meant to send."""
_NAME: Final = 80
_TEXT: Final = 200
_DEEP: Final = 20
_PART_BYTES: Final = 65_536


def check_json(body: bytes, *, max_keys: int = MAX_KEYS, max_values: int = MAX_VALUES) -> None:
    """Refuse JSON of which too many objects would be made, before any is.

    Args:
        body: in UTF-8, or it is none that may be parsed. Whether it is JSON at all, and not nested too deep, its parser
            says.
        max_values: numbers, texts, lists and objects, at any depth.

    Raises:
        InvalidInput: there is too much in it.
    """
    if most_values(body) < min(max_keys, max_values):
        return  # as few as that, even with those that only stand in texts
    n_keys, n_values = 0, 1
    for part in _outside_texts(body):
        n_keys += part.count(b":")
        n_values += most_values(part)
        if n_keys > max_keys or n_values > max_values:
            raise InvalidInput(f"the JSON has more than {max_keys} keys or {max_values} values")


def most_values(part: bytes) -> int:
    """How many values there are at most in JSON, and exactly in JSON without texts.

    Each is the first of a list or object, or follows a comma.
    """
    return part.count(b",") + part.count(b"[") + part.count(b"{")


def _outside_texts(body: bytes) -> Iterator[bytes]:
    """What of JSON is no text, in small parts: no step takes so long that other threads would wait for it."""
    in_text, begun = False, b""
    for start in range(0, len(body), _PART_BYTES):
        part = begun + body[start : start + _PART_BYTES]
        part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        begun = b"\\" if part.endswith(b"\\") else b""  # escapes what follows
        pieces = part.removesuffix(begun).split(b'"')
        yield b"".join(pieces[in_text::2])
        in_text ^= len(pieces) % 2 == 0


def faults_of(error: ValidationError) -> list[dict[str, str]]:
    """What does not fit, as `{type, loc, msg}` each: the first of them, each cut, and how many more there are."""
    if (count := error.error_count()) > _COUNTED:
        return [_fault("too_many_faults", (), f"{count} values do not fit, too many to name them one by one")]
    return few_faults(error.errors(include_url=False, include_input=False, include_context=False), count)


def few_faults(faults: Iterable[Mapping[str, Any]], count: int) -> list[dict[str, str]]:
    """The first of `count` faults as pydantic words them, and how many more there are."""
    shown = [_fault(str(fault["type"]), fault["loc"], str(fault["msg"])) for fault in islice(faults, MAX_FAULTS)]
    if count > len(shown):
        shown.append(_fault("too_many_faults", (), f"{count - len(shown)} more values do not fit"))
    return shown


def _fault(kind: str, location: tuple[int | str, ...], message: str) -> dict[str, str]:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part[:_NAME]}" for part in location[:_DEEP])
    name = ".".join(str(part)[:_NAME] for part in location[:_DEEP])[:_NAME]
    return {"type": kind, "loc": f"body{path[:_TEXT]}", "msg": f"{name or 'body'}: {message[:_TEXT]}"}
