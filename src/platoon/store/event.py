"""What a site emits, of whatever kind: an envelope, kept and delivered without a look at what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from platoon.errors import InvalidInput

STATES: Final = ("preview", "final", "revised")
"""Of an event of any kind, in the order in which they replace each other: it may change yet; it is decided; it was
decided otherwise since.
"""
PLATE: Final = "plate"
"""The kind of an event whose body names none, as those of plates have never done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event."""

    id: str
    kind: str
    """What happened, as in `plate`."""
    camera: str
    time: float
    """Seconds since 1970."""
    state: str
    """One of `STATES`."""
    text: str
    """What it is found by."""
    body: Mapping[str, Any]
    """The whole event as listeners get it, but for the key of its crop."""
    crop: str | None = None
    """Key of its picture in the object store; None: it has none, or none any more."""

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Self:
        """The event that listeners got as `tree`: `id, state, camera, time` (ISO 8601; UTC where it says no zone), and
        as they apply `kind`, `text`, `crop`; a plate has a text. All else is its kind's own.

        Raises:
            InvalidInput: it is none.
        """
        try:
            moment = datetime.fromisoformat(tree["time"])
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            kind = str(tree.get("kind", PLATE))
            text = tree["text"] if kind == PLATE else tree.get("text", "")
            if tree["state"] not in STATES or not isinstance(text, str):
                raise ValueError(f"its state is one of {', '.join(STATES)}, and its text is a text")
            return cls(
                id=str(tree["id"]),
                kind=kind,
                camera=str(tree["camera"]),
                time=moment.timestamp(),
                state=tree["state"],
                text=text,
                body={field: value for field, value in tree.items() if field != "crop"},
                crop=tree.get("crop"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise not_kept(error, tree) from error

    def to_json(self) -> dict[str, Any]:
        """As the API, the event file and deliveries give it."""
        return {**self.body, "crop": self.crop}


def not_kept(error: Exception, event: object) -> InvalidInput:
    """What to raise where `event` is none, as `error` says."""
    return InvalidInput(f"not an event that can be kept ({type(error).__name__}: {error}): {event!r:.300}")
