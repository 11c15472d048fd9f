"""Plate events in one SQLite file: written durably, found by any part of a plate.

`put` returns once the event is on the disk: every write is synced (`synchronous=FULL`), because an event that
was announced must survive a killed process and a power cut alike, and events are few: a vehicle passes every
few seconds, a sync costs a millisecond or less. Several threads and several processes may write
at once; readers never wait for writers (write-ahead log).

Deciding what is too old belongs to `retention`; pictures belong to `objects`.
"""

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from platoon.errors import InvalidInput
from platoon.store.database import Database, transaction

STATES: Final = ("preview", "final", "revised")
"""Of an event, in the order in which they replace each other."""

_SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x504C4154  # "PLAT"
_KEEP_LESS: Final = "PLATOON_STORE__MAX_BYTES, PLATOON_STORE__MAX_AGE_DAYS"
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
    body TEXT NOT NULL       -- the whole event as JSON
);
CREATE INDEX event_by_time ON event (time);
CREATE INDEX event_by_camera ON event (camera, time);
CREATE INDEX event_with_crop ON event (time) WHERE crop IS NOT NULL;
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

_UPSERT: Final = """
INSERT INTO event (id, state, rank, camera, plate, time, crop, body)
VALUES (:id, :state, :rank, :camera, :plate, :time, :crop, :body)
ON CONFLICT (id) DO UPDATE SET
    state = excluded.state, rank = excluded.rank, camera = excluded.camera, plate = excluded.plate,
    time = excluded.time, crop = excluded.crop, body = excluded.body
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
        self._database = Database(path, "events", _SCHEMA, _SCHEMA_VERSION, _APPLICATION_ID, _KEEP_LESS)
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._writer = self._database.open()
        self._reader = self._database.open()

    def put(self, event: Mapping[str, Any]) -> None:
        """Keep `event`; durable on return.

        An event of the same id is replaced, unless the one kept is in a later state (see `STATES`): a preview
        that comes late never replaces its final.

        Raises:
            InvalidInput: a field that the store needs (id, state, camera, text, time) is missing or unusable.
        """
        row = _row(event)
        with self._database.explained("written"), self._writing:
            self._writer.execute(_UPSERT, row)

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
        query = "SELECT count(*) FROM event WHERE time >= ? AND rank > 0"
        with self._database.explained("read"), self._reading:
            return int(self._reader.execute(query, [since]).fetchone()[0])

    def last_time(self, camera: str) -> float | None:
        """When `camera` had its latest event, seconds since 1970."""
        with self._database.explained("read"), self._reading:
            (latest,) = self._reader.execute("SELECT max(time) FROM event WHERE camera = ?", [camera]).fetchone()
        return None if latest is None else float(latest)

    def oldest(
        self, limit: int, *, before: float | None = None, with_crop: bool = False
    ) -> list[tuple[str, str | None]]:
        """Ids and crop keys of the oldest events, at most `limit`.

        Args:
            before: only events earlier than this, seconds since 1970.
            with_crop: only events whose crop is kept.
        """
        conditions = ["time < ?"] if before is not None else ["true"]
        if with_crop:
            conditions.append("crop IS NOT NULL")
        values = [limit] if before is None else [before, limit]
        query = f"SELECT id, crop FROM event WHERE {' AND '.join(conditions)} ORDER BY time LIMIT ?"
        with self._database.explained("read"), self._reading:
            return self._reader.execute(query, values).fetchall()

    def delete(self, ids: Iterable[str]) -> int:
        """Forget these events, in one transaction; returns how many there were."""
        return self._write_all("DELETE FROM event WHERE id = ?", ((event_id,) for event_id in ids))

    def forget_crops(self, crops: Iterable[tuple[str, str]]) -> int:
        """Let events say that their crop is gone, given (id, key); returns how many changed."""
        return self._write_all("UPDATE event SET crop = NULL WHERE id = ? AND crop = ?", crops)

    def close(self) -> None:
        """Let the file go. Other methods must not be called any more."""
        with self._writing, self._reading:
            self._reader.close()
            self._writer.close()

    def _select(self, rest: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        with self._database.explained("read"), self._reading:
            rows = self._reader.execute(f"SELECT body, crop FROM event {rest}", values).fetchall()
        return [{**json.loads(body), "crop": crop} for body, crop in rows]

    def _write_all(self, statement: str, rows: Iterable[tuple[str, ...]]) -> int:
        with self._database.explained("written"), self._writing, transaction(self._writer) as db:
            return db.executemany(statement, rows).rowcount


def _row(event: Mapping[str, Any]) -> dict[str, Any]:
    try:
        moment = datetime.fromisoformat(event["time"])
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return {
            "id": str(event["id"]),
            "state": event["state"],
            "rank": STATES.index(event["state"]),
            "camera": str(event["camera"]),
            "plate": searchable(event["text"]),
            "time": moment.timestamp(),
            "crop": event.get("crop"),
            "body": json.dumps({k: v for k, v in event.items() if k != "crop"}, ensure_ascii=False, allow_nan=False),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"not an event that can be kept ({type(error).__name__}: {error}): {event!r:.300}"
        ) from error
