import json
import multiprocessing
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.errors import InvalidInput, StoreError
from platoon.store import event_schema
from platoon.store.database import Database
from platoon.store.event import Event
from platoon.store.events import EventStore, searchable
from tests.fake_site import event

NOON = 1_769_860_800.0  # 2026-01-31 12:00 UTC


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    store = EventStore(tmp_path / "deep" / "events.db")
    yield store
    store.close()


def ids(found: list[dict[str, object]]) -> list[object]:
    return [one["id"] for one in found]


def test_an_event_comes_back_as_it_was_put(store: EventStore) -> None:
    put = event(crop="gate/e1.jpg", text="ÄÖ 1")
    store.put(Event.of(put))
    assert store.get("e1") == put
    assert store.search() == [put]
    assert store.get("e2") is None


@pytest.mark.parametrize("part", ["L", "ls", "15E", "ls15ebc", "s 15-e", " EBC ", "15.E"])
def test_any_part_of_a_plate_finds_it(store: EventStore, part: str) -> None:
    store.put(Event.of(event("e1", text="LS15 EBC")))
    store.put(Event.of(event("e2", text="QX99 ZZZ")))
    assert ids(store.search(text=part)) == ["e1"]


@given(texts=st.lists(st.text("AB01Ö -", min_size=1, max_size=9), min_size=1, max_size=6), data=st.data())
@settings(max_examples=30, deadline=None)
def test_a_search_finds_exactly_the_plates_that_hold_the_part(texts: list[str], data: st.DataObject) -> None:
    part = data.draw(st.text("AB01Ö", min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        store = EventStore(Path(folder) / "events.db")
        for number, text in enumerate(texts):
            store.put(Event.of(event(str(number), text=text)))
        expected = {str(number) for number, text in enumerate(texts) if part in searchable(text)}
        assert set(ids(store.search(text=part))) == expected
        store.close()


@pytest.mark.parametrize("hostile", ['"', "%", "_", "%%%", "' OR 1=1 --", '" OR "', "*", "NEAR(A B)", "-", "A*\x00"])
def test_a_search_text_is_never_a_pattern_or_a_command(store: EventStore, hostile: str) -> None:
    store.put(Event.of(event(text="LS15 EBC")))
    assert store.search(text=hostile) == []
    assert len(store.search()) == 1


def test_newest_events_come_first_whatever_the_order_of_writing(store: EventStore) -> None:
    for minute in (3, 1, 2):
        store.put(Event.of(event(f"e{minute}", time=f"2026-01-31T12:0{minute}:00+00:00")))
    assert ids(store.search()) == ["e3", "e2", "e1"]
    assert ids(store.search(limit=1)) == ["e3"]


def test_filters_hold_together(store: EventStore) -> None:
    store.put(Event.of(event("a", camera="gate", time="2026-01-31T12:00:00Z")))
    store.put(Event.of(event("b", camera="yard", time="2026-01-31T13:00:00+01:00")))
    store.put(Event.of(event("c", camera="gate", state="preview", time="2026-01-31T14:00:00Z")))
    assert ids(store.search(camera="gate", state="final")) == ["a"]
    assert ids(store.search(since=NOON, until=NOON + 1)) == ["b", "a"]
    assert store.last_time("gate") == NOON + 7200
    assert store.last_time("nowhere") is None
    assert store.count() == 2, "previews are no plates yet"
    assert store.count(since=NOON + 1) == 0


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["preview", "final"], "final"),
        (["final", "preview"], "final"),
        (["final", "revised", "final"], "revised"),
        (["preview", "preview"], "preview"),
    ],
)
def test_a_later_state_replaces_an_earlier_one_and_never_the_reverse(
    store: EventStore, states: list[str], kept: str
) -> None:
    for number, state in enumerate(states):
        store.put(Event.of(event("e1", state=state, text=f"PLATE{number}{state}", crop=f"{number}.jpg")))
    (only,) = store.search()
    last = max(number for number, state in enumerate(states) if state == kept)
    assert (only["state"], only["text"], only["crop"]) == (kept, f"PLATE{last}{kept}", f"{last}.jpg")
    assert ids(store.search(text=f"PLATE{last}{kept}")) == ["e1"]
    for number, state in enumerate(states):
        if number != last:
            assert store.search(text=f"PLATE{number}{state}") == [], "a replaced text is no longer found"


@pytest.mark.parametrize(
    ("states", "dropped"),
    [
        (["preview"], []),
        (["preview", "final"], ["preview.jpg"]),
        (["final", "preview"], ["preview.jpg"]),
        (["preview", "final", "revised"], ["final.jpg", "preview.jpg"]),
        (["final", "final"], []),
    ],
)
def test_a_crop_that_no_event_names_any_more_is_to_be_deleted_and_never_the_one_that_is_named(
    store: EventStore, states: list[str], dropped: list[str]
) -> None:
    for state in states:
        store.put(Event.of(event(state=state, crop=f"{state}.jpg")))
    assert sorted(store.dropped(10)) == dropped
    assert store.unnamed([*dropped, str((store.get("e1") or {})["crop"])]) == dropped
    store.forget_dropped(dropped)
    assert store.dropped(10) == []


def test_writings_are_counted_in_their_order_and_never_twice(store: EventStore) -> None:
    for name, state in (("a", "preview"), ("b", "final"), ("a", "final"), ("a", "preview")):
        store.put(Event.of(event(name, state=state)))
    assert [(number, one["id"]) for number, one in store.written_since(0, 10)] == [(2, "b"), (3, "a")]
    store.delete(["a", "b"])
    store.put(Event.of(event("c")))
    assert [number for number, _ in store.written_since(3, 10)] == [4]


@pytest.mark.parametrize(
    "fields", [{"state": "gone"}, {"time": "yesterday"}, {"text": None}, {"confidence": float("nan")}]
)
def test_what_is_no_event_is_refused_and_named(store: EventStore, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="not an event"):
        store.put(Event.of(event(**fields)))
    assert store.search() == []


def test_deleted_events_are_found_no_more(store: EventStore) -> None:
    store.put(Event.of(event("e1")))
    store.put(Event.of(event("e2")))
    assert store.delete(["e1", "never"]) == 1
    assert ids(store.search(text="LS15")) == ["e2"]


CAPTION = {
    "kind": "caption",
    "id": "c1",
    "state": "final",
    "camera": "gate",
    "time": "2026-01-31T12:00:00.000+00:00",
    "text": "a lorry marked LS15 EBC turns left",
    "model": {"name": "some", "steps": [1, 2]},
    "crop": None,
}


def test_events_of_other_kinds_are_kept_as_they_are_and_are_no_plates(store: EventStore) -> None:
    store.put(Event.of(event("e1", text="LS15 EBC")))
    store.put(Event.of(CAPTION))
    store.put(Event.of({"kind": "alert", "id": "a1", "state": "preview", "camera": "yard", "time": "2026-01-31T12:00"}))
    assert store.get("c1") == CAPTION
    assert ids(store.search(kind="plate", text="ls15")) == ["e1"]
    assert ids(store.search(kind="caption", text="lorry marked", camera="gate")) == ["c1"]
    assert ids(store.search(kind="alert")) == ["a1"]
    assert sorted(map(str, ids(store.search(text="ls15")))) == ["c1", "e1"]
    assert (store.count(), store.count("caption"), store.count("alert")) == (1, 1, 0)
    assert [one["id"] for _, one in store.written_since(0, 10)] == ["e1", "c1", "a1"]


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ({}, "event_by_kind (kind=?)"),
        ({"since": 1.0}, "event_by_kind (kind=? AND time>?)"),
        ({"camera": "gate", "since": 1.0}, "event_by_camera (camera=? AND time>?)"),
        ({"text": "LS15"}, "INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
def test_plates_among_other_events_are_found_by_an_index(store: EventStore, asked: dict[str, Any], used: str) -> None:
    plans: list[str] = []
    rows = store._rows

    def explained(query: str, values: Any) -> list[Any]:
        plans.extend(str(step) for *_, step in rows(f"EXPLAIN QUERY PLAN {query}", values))
        return rows(query, values)

    store._rows = explained  # type: ignore[method-assign]
    store.search(kind="plate", **asked)
    assert any(used in step for step in plans), plans


def test_a_database_of_the_version_before_opens_with_its_events_as_plates(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    schema = re.sub(r",( *--.*)\n *kind TEXT.*", r"\1", event_schema._EVENTS) + event_schema._SINCE_2
    old = Database(path, "events", schema, 2, event_schema._APPLICATION_ID, "less").open()
    body = json.dumps({key: value for key, value in event("old", text="LS15 EBC").items() if key != "crop"})
    old.execute(
        "INSERT INTO event (id, state, rank, camera, plate, time, crop, body, crop_bytes, revision) VALUES "
        "('old', 'final', 1, 'gate', 'LS15EBC', 1.0, 'old.jpg', ?, 10, 1)",
        [body],
    )
    old.close()
    store = EventStore(path)
    assert store.get("old") == event("old", text="LS15 EBC", crop="old.jpg")
    assert ids(store.search(kind="plate", text="15E")) == ["old"]
    store.put(Event.of(CAPTION))
    assert (store.count(), store.count("caption")) == (1, 1)
    store.close()


def test_threads_share_a_store(store: EventStore) -> None:
    def write(name: str) -> None:
        for number in range(25):
            store.put(Event.of(event(f"{name}{number}")))
            assert store.search(text="LS15", limit=1)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count() == 100


def write_from_a_process(path: Path, name: str) -> None:
    store = EventStore(path)
    for number in range(40):
        store.put(Event.of(event(f"{name}{number}")))


def test_processes_that_start_at_once_share_a_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "events.db"
    processes = [context.Process(target=write_from_a_process, args=(path, name)) for name in "abc"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    store = EventStore(path)
    assert store.count() == 120
    store.close()


WRITER = """
import sys
from pathlib import Path
from platoon.store import event_schema
from platoon.store.database import Database
from platoon.store.event import Event
from platoon.store.events import EventStore
from tests.fake_site import event
store = EventStore(Path(sys.argv[1]))
number = 0
while True:
    store.put(Event.of(event(str(number))))
    print(number, flush=True)
    number += 1
"""


def test_events_acknowledged_before_kill_9_are_there_after(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
    store = EventStore(path)
    kept = set(ids(store.search(limit=10_000)))
    assert kept.issuperset(acknowledged)
    store.put(Event.of(event("after")))
    store.close()


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"holiday pictures" * 300)
    with pytest.raises(StoreError, match=r"events\.db.*move it away"):
        EventStore(path)
    assert path.read_bytes() == b"holiday pictures" * 300


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name)")
    db.close()
    with pytest.raises(StoreError, match=r"another program.*PLATOON_STORE__PATH"):
        EventStore(path)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    EventStore(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer Platoon"):
        EventStore(path)


def test_a_damaged_database_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    store = EventStore(path)
    for number in range(200):
        store.put(Event.of(event(str(number))))
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises(StoreError, match=r"events\.db.*move it away"):
        EventStore(path).search()


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    store = EventStore(tmp_path / "events.db")
    store.put(Event.of(event("before")))
    with store._writer() as db:
        db.execute("PRAGMA max_page_count = 20")  # what SQLite sees of a disk that is full
    with pytest.raises(StoreError, match=r"events\.db.*free space"):
        for number in range(1000):
            store.put(Event.of(event(str(number))))
    assert store.get("before") is not None
    store.close()


@pytest.fixture
def ordinary_user(read_only_file: Path) -> Iterator[None]:
    """Nothing to be done but for root, who may write everything."""
    if root := os.geteuid() == 0:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.fixture
def read_only_file() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.db"
        EventStore(path).close()
        Path(folder).chmod(0o755)
        path.chmod(0o444)
        yield path


@pytest.mark.usefixtures("ordinary_user")
def test_a_file_that_may_not_be_written_is_named(read_only_file: Path) -> None:
    with pytest.raises(StoreError, match=r"events\.db.*let this user write"):
        EventStore(read_only_file)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.*PLATOON_STORE__PATH"):
        EventStore(tmp_path / "file" / "events.db")


def _deleted(path: Path) -> None:
    for part in path.parent.iterdir():
        part.unlink()
    path.parent.rmdir()


def _moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


def _replaced(path: Path) -> None:
    other = path.parent.with_name("other") / path.name
    EventStore(other).close()
    for part in path.parent.iterdir():  # what is in a log that stays is taken for a part of the new file
        part.unlink()
    other.rename(path)


@pytest.mark.parametrize("taken_away", [_deleted, _moved, _replaced])
def test_no_event_goes_to_a_file_that_is_not_there_any_more(tmp_path: Path, taken_away: Callable[[Path], None]) -> None:
    path = tmp_path / "store" / "events.sqlite"
    store = EventStore(path)
    store.put(Event.of(event("before")))
    taken_away(path)
    store.put(Event.of(event("after")))
    assert [one["id"] for one in store.search()] == ["after"]
    store.close()
    again = EventStore(path)
    assert [one["id"] for one in again.search()] == ["after"]
    again.close()


@pytest.mark.parametrize("content", [b"", b"nothing that SQLite knows" * 400])
def test_a_file_that_became_useless_is_named_and_once_it_is_moved_away_events_are_kept_again(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "store" / "events.sqlite"
    store = EventStore(path)
    store.put(Event.of(event("before")))
    if content:  # else it stays the same file
        for part in path.parent.iterdir():
            part.unlink()
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(StoreError, match="move it away"):
            store.put(Event.of(event("after")))
    for part in list(path.parent.glob("events.sqlite*")):
        part.rename(part.with_name(f"useless {part.name}"))
    store.put(Event.of(event("after")))
    assert store.get("after") is not None
    store.close()


def test_that_a_file_was_moved_away_is_said_once_also_where_no_new_one_can_be_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "store" / "events.sqlite"
    store = EventStore(path)
    store.put(Event.of(event("before")))
    for part in list(path.parent.glob("events.sqlite*")):
        part.unlink()
    path.mkdir()
    for _ in range(5):
        with pytest.raises(StoreError, match="cannot be opened"):
            store.put(Event.of(event("after")))
    assert caplog.text.count("was moved away") == 1
    path.rmdir()
    store.put(Event.of(event("after")))
    assert store.get("after") is not None
    store.close()
