"""Plate events in one SQLite file: written durably, found by any part of a plate.

`put` returns once the event is on the disk: every write is synced (`synchronous=FULL`), because an event that
was announced must survive a killed process and a power cut alike, and events are few: a vehicle passes every
few seconds, a sync costs a millisecond or less. Several threads and several processes may write
at once; readers never wait for writers (write-ahead log).

A file that is moved away, deleted or replaced while it is in use is begun anew.

Deciding what is too old belongs to `retention`; pictures belong to `objects`.
"""

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from platoon.errors import InvalidInput, StoreUnusable
from platoon.store.database import Connection, Database, give_back, transaction

STATES: Final = ("preview", "final", "revised")
"""Of an event, in the order in which they replace each other."""

_SCHEMA_VERSION: Final = 2
_APPLICATION_ID: Final = 0x504C4154  # "PLAT"
_KEEP_LESS: Final = "PLATOON_STORE__MAX_BYTES, PLATOON_STORE__MAX_AGE_DAYS"
_CLOSE_S: Final = 5.0
_SHORTEST_INDEXED: Final = 3  # letters; the trigram index cannot find fewer

_SCHEMA: Final = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    rank INTEGER NOT NULL,   -- of the state in STATES
    camera TEXT NOT NULL,
    plate TEXT NOT NULL,     -- the text as it is searched: letters and digits, upper case
    time REAL NOT NULL,      -- seconds since 1970
    crop TEXT,               -- key in the object store; the body does not repeat it
    body TEXT NOT NULL,      -- the whole event as JSON
    crop_bytes INTEGER,      -- NULL: not measured yet
    revision INTEGER         -- counts all writes of the store, upwards; NULL: written by an older version
);
CREATE INDEX event_by_time ON event (time);
CREATE INDEX event_by_camera ON event (camera, time);
CREATE VIRTUAL TABLE plate_index
    USING fts5 (plate, content='event', content_rowid='number', tokenize='trigram');
CREATE TRIGGER event_added AFTER INSERT ON event BEGIN
    INSERT INTO plate_index (rowid, plate) VALUES (new.number, new.plate);
END;
CREATE TRIGGER event_removed AFTER DELETE ON event BEGIN
    INSERT INTO plate_index (plate_index, rowid, plate) VALUES ('delete', old.number, old.plate);
END;
CREATE TRIGGER event_replaced AFTER UPDATE OF plate ON event BEGIN
    INSERT INTO plate_index (plate_index, rowid, plate) VALUES ('delete', old.number, old.plate);
    INSERT INTO plate_index (rowid, plate) VALUES (new.number, new.plate);
END;
"""
_SINCE_2: Final = """
CREATE INDEX event_with_crop ON event (time, crop_bytes) WHERE crop IS NOT NULL;
CREATE INDEX event_undecided ON event (time) WHERE crop IS NOT NULL AND rank = 0;
CREATE INDEX event_unmeasured ON event (number) WHERE crop IS NOT NULL AND crop_bytes IS NULL;
CREATE INDEX event_by_crop ON event (crop) WHERE crop IS NOT NULL;
CREATE INDEX event_by_revision ON event (revision);
CREATE TABLE dropped_crop (key TEXT PRIMARY KEY) WITHOUT ROWID;  -- to be deleted: no event names it any more
CREATE TABLE memo (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO memo VALUES ('revision', 0);
"""
_UPGRADES: Final = {
    1: "DROP INDEX event_with_crop;\n"
    "ALTER TABLE event ADD COLUMN crop_bytes INTEGER;\n"
    "ALTER TABLE event ADD COLUMN revision INTEGER;" + _SINCE_2
}

_UPSERT: Final = """
INSERT INTO event (id, state, rank, camera, plate, time, crop, body, crop_bytes, revision)
VALUES (:id, :state, :rank, :camera, :plate, :time, :crop, :body, :crop_bytes,
    (SELECT value + 1 FROM memo WHERE name = 'revision'))
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, rank = excluded.rank, camera = excluded.camera, plate = excluded.plate,
    time = excluded.time, crop = excluded.crop, body = excluded.body, crop_bytes = excluded.crop_bytes,
    revision = excluded.revision
WHERE excluded.rank >= event.rank
"""


def searchable(text: str) -> str:
    """The letters and digits of `text` in upper case: what a plate is searched by, whatever its spacing."""
    return "".join(letter for letter in text.upper() if letter.isalnum())


class EventStore:
    """The events of a site. Safe from any thread, and beside other processes on the same file.

    Args:
        path: the database file; made, with its folder, where there is none.

    Raises:
        StoreError: from every method, when the file cannot be written or read; says what to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database = Database(
            path, "events", _SCHEMA + _SINCE_2, _SCHEMA_VERSION, _APPLICATION_ID, _KEEP_LESS, _UPGRADES
        )
        self.written_at = path.stat().st_mtime if path.exists() else time.time()
        """When an event was written last, by the clock of that time, seconds since 1970."""
        self._writer, self._reader = Connection(self._database), Connection(self._database)
        with self._writing(), self._reading():  # what cannot be used is found out now
            pass

    def put(self, event: Mapping[str, Any]) -> None:
        """Keep `event`; durable on return.

        An event of the same id is replaced, unless the one kept is in a later state (see `STATES`): a preview
        that comes late never replaces its final. A crop that no event names after this, of the one replaced or of the
        one that came late, is among `dropped` from then on. `crop_bytes` in an event is the size of its crop, where
        that is known; it is kept for `oldest_crops` and is no part of what `get` and `search` return.

        Raises:
            InvalidInput: a field that the store needs (id, state, camera, text, time) is missing or unusable.
        """
        row = _row(event)
        with self._writing() as writer, transaction(writer) as db:
            kept = db.execute("SELECT crop FROM event WHERE id = ?", [row["id"]]).fetchone()
            before = None if kept is None else kept[0]
            replaced = db.execute(_UPSERT, row).rowcount > 0
            if replaced:
                db.execute("UPDATE memo SET value = value + 1 WHERE name = 'revision'")
            dropped = {before, row["crop"]} - {None, row["crop"] if replaced else before}
            db.executemany("INSERT OR IGNORE INTO dropped_crop VALUES (?)", [(key,) for key in dropped])
        self.written_at = time.time()

    def get(self, event_id: str) -> dict[str, Any] | None:
        """The event of this id."""
        found = self._select("WHERE id = ?", [event_id])
        return found[0] if found else None

    def search(
        self,
        *,
        plate: str | None = None,
        camera: str | None = None,
        state: str | None = None,
        since: float | None = None,
        until: float | None = None,
        limit: int = 50,
    ) -> list[dict[str, Any]]:
        """At most `limit` events that match all that is given, newest first.

        Args:
            plate: any part of the text; case, spaces and punctuation do not matter.
            since, until: bounds of the event's time, seconds since 1970; `until` is not included.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if plate is not None and plate.strip():
            part = searchable(plate)
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

    def count(self, *, since: float = 0.0) -> int:
        """How many plates were decided (previews do not count) since then, seconds since 1970."""
        return int(self._rows("SELECT count(*) FROM event WHERE time >= ? AND rank > 0", [since])[0][0])

    def last_time(self, camera: str) -> float | None:
        """When `camera` had its latest event, seconds since 1970."""
        latest = self._rows("SELECT max(time) FROM event WHERE camera = ?", [camera])[0][0]
        return None if latest is None else float(latest)

    def written_since(self, revision: int, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """Events written after `revision`, in that order, each with the revision that its writing made."""
        query = "SELECT revision, body, crop FROM event WHERE revision > ? ORDER BY revision LIMIT ?"
        rows = self._rows(query, [revision, limit])
        return [(number, {**json.loads(body), "crop": crop}) for number, body, crop in rows]

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
        return [{**json.loads(body), "crop": crop} for body, crop in rows]

    def _rows(self, query: str, values: Sequence[Any]) -> list[Any]:
        with self._reading() as db:
            return db.execute(query, values).fetchall()

    def _write_all(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        with self._writing() as writer, transaction(writer) as db:
            return db.executemany(statement, rows).rowcount

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._used(self._writer, "written")

    def _reading(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._used(self._reader, "read")

    @contextmanager
    def _used(self, connection: Connection, what: str) -> Iterator[sqlite3.Connection]:
        try:
            with self._database.explained(what), connection() as db:
                yield db
        except StoreUnusable:  # whoever mends it need not start anything anew
            self._reader.stale = self._writer.stale = True
            raise


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    try:
        moment = datetime.fromisoformat(event["time"])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        body = {field: value for field, value in event.items() if field not in ("crop", "crop_bytes")}
        return {
            "id": str(event["id"]),
            "state": event["state"],
            "rank": STATES.index(event["state"]),
            "camera": str(event["camera"]),
            "plate": searchable(event["text"]),
            "time": moment.timestamp(),
            "crop": event.get("crop"),
            "crop_bytes": event.get("crop_bytes"),
            "body": json.dumps(body, ensure_ascii=False, allow_nan=False),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"not an event that can be kept ({type(error).__name__}: {error}): {event!r:.300}"
        ) from error
