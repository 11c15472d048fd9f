"""How fast age may take events: as they come due, but slowly once the clock has jumped.

A clock that is wrong by weeks makes everything old at once, and looks just like a site that was off for weeks. So
after a jump, either way, age takes nothing for a day, in which the clock may be set right; then a share of what is kept
each day, until nothing is left that is due. All that runs on the caller's clock and is remembered beside the events.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Final

from platoon.store.events import EventStore

DAY_S: Final = 86_400.0
JUMP_S: Final = 2 * DAY_S
"""Between two looks at the clock, one of which may have been before a weekend."""
WAIT_S: Final = DAY_S
"""Of looking at a clock that does not jump."""
SHARE: Final = 0.1
"""Of what is kept, that may go in a day."""
_MEMO: Final = "retention"


@dataclass(slots=True, kw_only=True)
class _Memory:
    seen: float | None = None
    """What the clock said last."""
    waits_s: float = 0.0
    catching_up: bool = False
    day: float = -math.inf
    """When the day began whose share is being taken."""
    taken: int = 0
    """Events, of this day's share."""
    may: int = 0
    """Events that this day's share is."""
    room_day: float = -math.inf
    room_may: int = 0
    """Bytes of crops that may still go this day to make room."""
    why: str = ""
    """As `Pace.why`."""


class Pace:
    """Of one store's expiry.

    Args:
        max_age_s: what is older is due. Where that is days only, the share is what comes due in two of them.
    """

    def __init__(self, events: EventStore, max_age_s: float) -> None:
        self._events = events
        self._share = min(1.0, max(SHARE, 2 * DAY_S / max_age_s))
        text = events.memo(_MEMO)
        self._memory = _Memory(**json.loads(text)) if text else _Memory()

    @property
    def why(self) -> str:
        """Why age takes less than what is due; empty while it does not."""
        return self._memory.why

    def look(self, now: float) -> float:
        """Look at the clock; how many events age may take now (`inf`: all that are due).

        Raises:
            StoreError: that cannot be remembered.
        """
        memory = self._memory
        if (
            memory.seen is None
        ):  # no sweep has been here: the store was written last when its newest event came, or later
            seen = [self._events.written_at, self._events.latest() or now]
            memory.seen = min(seen, key=lambda then: abs(now - then))
        passed = now - memory.seen
        memory.seen = now
        if abs(passed) > JUMP_S:
            if not memory.waits_s:
                memory.waits_s = WAIT_S
            memory.catching_up = True
            way = "ahead of" if passed > 0 else "behind"
            memory.why = (
                f"the clock is {abs(passed) / DAY_S:.0f} days {way} what it was at the last look: it is wrong, or the "
                f"site was off; nothing is deleted for its age for {memory.waits_s / 3600:.0f} h of running, then "
                f"{self._share:.0%} of all events a day at most"
            )
        elif memory.waits_s:
            memory.waits_s = max(0.0, memory.waits_s - max(0.0, passed))
        if memory.catching_up and not 0 <= now - memory.day < DAY_S:
            memory.day, memory.taken = now, 0
            memory.may = max(1, int(self._share * self._events.total()))
        self._save()
        if memory.waits_s:
            return 0
        return memory.may - memory.taken if memory.catching_up else math.inf

    def took(self, events: int) -> None:
        """So many have gone for their age."""
        if self._memory.catching_up:
            self._memory.taken += events
            self._save()

    def done(self) -> None:
        """Nothing that is due is left."""
        if self._memory.catching_up and not self._memory.waits_s:
            self._memory.catching_up, self._memory.why = False, ""
            self._save()

    def room(self, now: float, kept_bytes: int) -> int:
        """Bytes of crops that may go now to make room on the disk: a share of `kept_bytes` a day.

        It is remembered with `made_room` only: on a full disk nothing can be, before there is room.
        """
        memory = self._memory
        if not 0 <= now - memory.room_day < DAY_S:
            memory.room_day, memory.room_may = now, max(1, int(SHARE * kept_bytes))
        return memory.room_may

    def made_room(self, n_bytes: int) -> None:
        """So many bytes of crops have gone to make room."""
        self._memory.room_may -= n_bytes
        self._save()

    def _save(self) -> None:
        self._events.remember(_MEMO, json.dumps(asdict(self._memory)))


def why_less(events: EventStore) -> str:
    """What `Pace.why` says of this store, for whoever does not sweep it."""
    text = events.memo(_MEMO)
    return str(json.loads(text)["why"]) if text else ""
