"""Events of all kinds in one SQLite file: written durably, found by any part of their text.

`put` returns once the event is on the disk: every write is synced (`synchronous=FULL`), because an event that
was announced must survive a killed process and a power cut alike, and events are few: a vehicle passes every
few seconds, a sync costs a millisecond or less. Several threads and several processes may write
at once; readers never wait for writers (write-ahead log).

A file that is moved away, deleted or replaced while it is in use is begun anew.

Deciding what is too old belongs to `retention`; pictures belong to `objects`.
"""

import json
import logging
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from platoon.settings import DeliverySettings
from platoon.store import damage
from platoon.store.clock import StoreClock
from platoon.store.database import Connection, give_back, transaction
from platoon.store.deliveries import enqueue, join_clock
from platoon.store.event import PLATE, STATES, Event, not_kept
from platoon.store.event_schema import events_at

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 5.0
_SHORTEST_INDEXED: Final = 3  # letters; the trigram index cannot find fewer

_UPSERT: Final = """
INSERT INTO event (id, kind, state, rank, camera, plate, time, crop, body, crop_bytes, revision)
VALUES (:id, :kind, :state, :rank, :camera, :text, :time, :crop, :body, :crop_bytes,
    (SELECT value + 1 FROM memo WHERE name = 'revision'))
ON CONFLICT (id) DO UPDATE SET
    kind = excluded.kind, state = excluded.state, rank = excluded.rank, camera = excluded.camera,
    plate = excluded.plate, time = excluded.time, crop = excluded.crop, body = excluded.body,
    crop_bytes = excluded.crop_bytes, revision = excluded.revision
WHERE excluded.rank >= event.rank
"""


def searchable(text: str) -> str:
    """The letters and digits of `text` in upper case: what an event is searched by, whatever its spacing."""
    return "".join(letter for letter in text.upper() if letter.isalnum())


class EventStore:
    """The events of a site. Safe from any thread, and beside other processes on the same file.

    Args:
        path: the database file; made, with its folder, where there is none.
        deliveries: what of each event is to be delivered to whom, see `deliveries`.
        unattended: nobody is at hand, as on a site that was started by itself after a power cut. A file that cannot be
            used is no error of the constructor, but of each method until it can be, and of `check`. One that is damaged
            is set aside, and a new one begun; `warnings` says so.

    Raises:
        StoreError: from every method, when the file cannot be written or read; says what to do.
    """

    def __init__(
        self,
        path: Path,
        deliveries: Sequence[DeliverySettings] = (),
        *,
        clock: StoreClock | None = None,
        unattended: bool = False,
    ) -> None:
        self.path, self._deliveries, self._clock = path, deliveries, clock or StoreClock()
        self._database = events_at(path, unattended=unattended)
        self.written_at = _written_at(path)
        """When an event was written last, by the clock of that time, seconds since 1970."""
        self._writer = Connection(self._database, self._open_writer)
        self._reader = Connection(self._database)
        self._aside: Sequence[Path] = ()
        if not unattended:
            self.check()

    def check(self) -> None:
        """Open the file where it is not open yet.

        Raises:
            StoreError: it cannot be.
        """
        with self._writing(), self._reading():
            pass

    def warnings(self) -> list[str]:
        """What somebody should look after: files that were set aside, as they lay there when this one was opened."""
        return damage.warnings("events", self._aside)

    def put(self, event: Event, *, crop_bytes: int | None = None) -> None:
        """Keep `event`, and with it what of it is to be delivered; durable on return.

        An event of the same id is replaced, unless the one kept is in a later state (see `STATES`): a preview
        that comes late never replaces its final. A crop that no event names after this, of the one replaced or of the
        one that came late, is among `dropped` from then on.

        Args:
            crop_bytes: the size of its crop, where that is known, for `oldest_crops`.

        Raises:
            InvalidInput: its body is no JSON, or its state none of `STATES`.
        """
        row = _row(event, crop_bytes)
        with self._writing() as writer, transaction(writer) as db:
            kept = db.execute("SELECT crop FROM event WHERE id = ?", [row["id"]]).fetchone()
            before = None if kept is None else kept[0]
            replaced = db.execute(_UPSERT, row).rowcount > 0
            if replaced:
                db.execute("UPDATE memo SET value = value + 1 WHERE name = 'revision'")
                enqueue(db, self._deliveries, event, self._clock())
            dropped = {before, row["crop"]} - {None, row["crop"] if replaced else before}
            db.executemany("INSERT OR IGNORE INTO dropped_crop VALUES (?)", [(key,) for key in dropped])
        self.written_at = time.time()

    def get(self, event_id: str) -> dict[str, Any] | None:
        """The event of this id, as `Event.to_json` gives it."""
        found = self._select("WHERE id = ?", [event_id])
        return found[0] if found else None

    def search(
        self,
        *,
        kind: str | None = None,
        text: str | None = None,
        camera: str | None = None,
        state: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """At most `limit` events that match all that is given, newest first.

        Args:
            text: any part of it; case, spaces and punctuation do not matter.
            since, until: bounds of the event's time, seconds since 1970; `until` is not included.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if kind is not None:
            # A camera or a text finds fewer than a kind does: the plus keeps SQLite from looking at the kind first.
            narrow = camera is not None or (text is not None and text.strip())
            conditions.append("+kind = ?" if narrow else "kind = ?")
            values.append(kind)
        if text is not None and text.strip():
            part = searchable(text)
            if not part:
                return []
            if len(part) < _SHORTEST_INDEXED:
                conditions.append("plate LIKE ?")
                values.append(f"%{part}%")
            else:
                conditions.append("number IN (SELECT rowid FROM plate_index WHERE plate MATCH ?)")
                values.append(f'"{part}"')
        bounds = (("camera = ?", camera), ("state = ?", state), ("time >= ?", since), ("time < ?", until))
        for condition, value in bounds:
            if value is not None:
                conditions.append(condition)
                values.append(value)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return self._select(f"{where} ORDER BY time DESC, number DESC LIMIT ?", [*values, max(0, limit)])

    def count(self, kind: str = PLATE, *, since: float = 0.0) -> int:
        """How many events of a kind were decided (previews do not count) since then, seconds since 1970."""
        query = "SELECT count(*) FROM event WHERE kind = ? AND time >= ? AND rank > 0"
        return int(self._rows(query, [kind, since])[0][0])

    def last_time(self, camera: str) -> float | None:
        """When `camera` had its latest event, seconds since 1970."""
        latest = self._rows("SELECT max(time) FROM event WHERE camera = ?", [camera])[0][0]
        return None if latest is None else float(latest)

    def revision(self) -> int:
        """That of the event written last; 0: there was none yet."""
        return int(self._rows("SELECT value FROM memo WHERE name = 'revision'", [])[0][0])

    def written_since(self, revision: int, limit: int, *, kind: str | None = None) -> list[tuple[int, dict[str, Any]]]:
        """Events written after `revision`, of a kind or of all, in that order, each with the revision that its writing
        made.
        """
        query = (
            "SELECT revision, body, crop FROM event WHERE revision > ? AND +kind = coalesce(?, kind) "
            "ORDER BY revision LIMIT ?"
        )
        rows = self._rows(query, [revision, kind, limit])
        return [(number, event) for number, body, crop in rows if (event := _event(body, crop)) is not None]

    def oldest(self, limit: int, *, before: float) -> list[tuple[str, str | None]]:
        """Ids and crop keys of the oldest events earlier than `before`, seconds since 1970; at most `limit`."""
        return self._rows("SELECT id, crop FROM event WHERE time < ? ORDER BY time LIMIT ?", [before, limit])

    def oldest_crops(self, limit: int, *, undecided_before: float | None = None) -> list[tuple[str, str, int]]:
        """Id, crop key and size in bytes (0: not measured) of the oldest events whose crop is kept, at most `limit`.

        Args:
            undecided_before: only previews earlier than this, seconds since 1970.
        """
        condition = "true" if undecided_before is None else "rank = 0 AND time < ?"
        values = [limit] if undecided_before is None else [undecided_before, limit]
        query = f"""
            SELECT id, crop, coalesce(crop_bytes, 0) FROM event
            WHERE crop IS NOT NULL AND {condition} ORDER BY time LIMIT ?
        """
        return self._rows(query, values)

    def total(self) -> int:
        """How many events are kept, in whatever state."""
        return int(self._rows("SELECT count(*) FROM event", [])[0][0])

    def latest(self) -> float | None:
        """The time of the newest event, seconds since 1970."""
        latest = self._rows("SELECT max(time) FROM event", [])[0][0]
        return None if latest is None else float(latest)

    def crop_bytes(self) -> int:
        """Size of all crops that events name, as far as they are measured."""
        return int(self._rows("SELECT coalesce(sum(crop_bytes), 0) FROM event WHERE crop IS NOT NULL", [])[0][0])

    def unmeasured(self, limit: int) -> list[tuple[str, str]]:
        """Id and crop key of events whose crop's size is not known, as older versions wrote them; at most `limit`."""
        query = "SELECT id, crop FROM event WHERE crop IS NOT NULL AND crop_bytes IS NULL ORDER BY number LIMIT ?"
        return self._rows(query, [limit])

    def measure(self, sizes: Iterable[tuple[int, str, str]]) -> None:
        """Keep the sizes of crops, given (bytes, id, key)."""
        self._write_all("UPDATE event SET crop_bytes = ? WHERE id = ? AND crop = ?", sizes)

    def unnamed(self, keys: Iterable[str]) -> list[str]:
        """Those of these keys of crops that no event names."""
        with self._reading() as db:
            found = [(db.execute("SELECT 1 FROM event WHERE crop = ?", [key]).fetchone(), key) for key in keys]
        return [key for named, key in found if named is None]

    def dropped(self, limit: int) -> list[str]:
        """Keys of crops that are to be deleted because no event names them any more; at most `limit`."""
        return [key for (key,) in self._rows("SELECT key FROM dropped_crop LIMIT ?", [limit])]

    def forget_dropped(self, keys: Iterable[str]) -> None:
        """These have been deleted."""
        self._write_all("DELETE FROM dropped_crop WHERE key = ?", ((key,) for key in keys))

    def delete(self, ids: Iterable[str], *, before: float = math.inf) -> int:
        """Forget these events, in one transaction; returns how many there were.

        Args:
            before: not those that have since been replaced by one of this time or later, seconds since 1970.
        """
        rows = ((event_id, before) for event_id in ids)
        return self._write_all("DELETE FROM event WHERE id = ? AND time < ?", rows)

    def forget_crops(self, crops: Iterable[tuple[str, str]]) -> int:
        """Let events say that their crop is gone, given (id, key); returns how many changed."""
        return self._write_all("UPDATE event SET crop = NULL, crop_bytes = NULL WHERE id = ? AND crop = ?", crops)

    def memo(self, name: str) -> Any:
        """The number or text that was remembered under this name; None where there is none."""
        found = self._rows("SELECT value FROM memo WHERE name = ?", [name])
        return found[0][0] if found else None

    def remember(self, name: str, value: float | str) -> None:
        """Keep a number or text beside the events, durably."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO memo VALUES (?, ?)", [name, value])

    def give_back(self) -> None:
        """Shrink the file by what was deleted from it."""
        with self._writing() as db:
            give_back(db)

    def close(self) -> None:
        """Let the file go. Other methods must not be called any more.

        A connection that hangs in its disk is left to the end of the process.
        """
        self._reader.close(_CLOSE_S)
        self._writer.close(_CLOSE_S)

    def _select(self, rest: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        rows = self._rows(f"SELECT body, crop FROM event {rest}", values)
        return [event for body, crop in rows if (event := _event(body, crop)) is not None]

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._reading() as db:
            return db.execute(query, values).fetchall()

    def _write_all(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        with self._writing() as writer, transaction(writer) as db:
            return db.executemany(statement, rows).rowcount

    def _open_writer(self) -> sqlite3.Connection:
        db = self._database.open()
        if self._deliveries:
            join_clock(db, self._clock)
        self._aside = damage.lying(self.path)
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._database.explained("written"), self._writer() as db:
            yield db

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._database.explained("read"), self._reader() as db:
            yield db


def _event(body: str, crop: str | None) -> dict[str, Any] | None:
    """As it was put; None where its disk has changed it, which others must not suffer from."""
    try:
        return {**json.loads(body), "crop": crop}
    except (ValueError, TypeError) as error:
        _log.warning("an event is left out, as what is kept of it is damaged (%s): %.200r", error, body)
        return None


def _written_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _row(event: Event, crop_bytes: int | None) -> dict[str, Any]:
    try:
        return {
            "id": event.id,
            "kind": event.kind,
            "state": event.state,
            "rank": STATES.index(event.state),
            "camera": event.camera,
            "text": searchable(event.text),
            "time": event.time,
            "crop": event.crop,
            "crop_bytes": crop_bytes,
            "body": json.dumps(dict(event.body), ensure_ascii=False, allow_nan=False),
        }
    except (TypeError, ValueError) as error:
        raise not_kept(error, event) from error
