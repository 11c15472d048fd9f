"""Seconds by which jobs and deliveries are due, held and expire: they go on, whatever is done to the machine's clock.

The system counts seconds since it was started, which nobody can set. They begin anew with each start, so a store keeps
how far it was, and goes on from there. What the machine was off is not counted: no clock that was set meanwhile can
let everything expire at once.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCHEMA: Final = """
CREATE TABLE clock (
    boot TEXT NOT NULL,          -- which start of the machine
    ahead REAL NOT NULL,         -- of the seconds since then
    seen REAL NOT NULL           -- the latest that is known
);
"""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def since_boot() -> float:
    """Seconds since the machine was started, also those that it slept."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Which start of the machine this is; empty where the system does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


@dataclass
class StoreClock:
    """The seconds of one store.

    Args:
        wall: seconds since 1970, for people.
    """

    wall: Callable[[], float] = time.time
    running: Callable[[], float] = since_boot
    boot: Callable[[], str] = boot_id
    _ahead: float = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.running() + self._ahead

    def join(self, db: sqlite3.Connection) -> bool:
        """Go on from where the store was. Within a transaction. Whether the machine was started anew since."""
        found = db.execute("SELECT boot, ahead, seen FROM clock").fetchone()
        boot, ahead, seen = found or ("", 0.0, 0.0)
        anew = found is None or boot != self.boot() or self.running() + ahead < seen
        self._ahead = seen - self.running() if anew else ahead
        db.execute("DELETE FROM clock")
        db.execute("INSERT INTO clock VALUES (?, ?, ?)", (self.boot(), self._ahead, self()))
        return anew

    def keep(self, db: sqlite3.Connection) -> None:
        """Remember how far it is; what was not remembered is lost with the next start of the machine."""
        db.execute("UPDATE clock SET seen = max(seen, ?)", (self(),))

    def date_of(self, moment: float) -> float:
        """When that is, in seconds since 1970 as the clock is set now."""
        return self.wall() + moment - self()
