import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from platoon.store import event_file
from platoon.store.event import Event
from platoon.store.event_file import EventFile
from platoon.store.events import EventStore
from tests.fake_site import event


class Site:
    """A store, and the file that follows it."""

    def __init__(self, folder: Path) -> None:
        self.store = EventStore(folder / "store" / "events.sqlite")
        self.path = folder / "events.jsonl"

    def file(self) -> EventFile:
        return EventFile(self.path, self.store.path)

    def put(self, file: EventFile | None, *names: str, **fields: Any) -> None:
        for name in names:
            self.store.put(Event.of(event(name, **fields)))
            if file is not None:
                file.hear({"type": "event", "event": {}})

    def lines(self) -> list[str]:
        return [json.loads(line)["id"] for line in self.path.read_text("utf-8").splitlines()]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(event_file, "RETRY_S", 0.01)
    site = Site(tmp_path)
    yield site
    site.store.close()


def until(condition: Callable[[], bool]) -> None:
    """Return once it holds; fail after half a minute."""
    for _ in range(3000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came to be")


def killed(site: Site, *names: str) -> None:
    """These were stored by a process that was killed before it wrote their lines."""
    site.put(None, *names)


def test_a_new_file_gets_what_is_stored_from_then_on(site: Site) -> None:
    site.put(None, "before")
    with site.file() as file:
        site.put(file, "a", "b")
    assert site.lines() == ["a", "b"]
    assert [json.loads(line) for line in site.path.read_text().splitlines()] == [event("a"), event("b")]
    assert site.path.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_process_stored_but_did_not_write_is_there_after_the_next_start(site: Site) -> None:
    with site.file() as file:
        site.put(file, "a")
    killed(site, *(f"k{number}" for number in range(200)))
    with site.file():
        pass
    assert site.lines() == ["a", *(f"k{number}" for number in range(200))]


def test_what_a_killed_process_wrote_but_did_not_note_is_not_written_twice(site: Site) -> None:
    with site.file() as file:
        site.put(file, "a", "b")
    site.store.remember(f"event file {site.path.absolute()}", 0)
    with site.file():
        pass
    assert site.lines() == ["a", "b"]


def test_a_line_that_a_killed_process_left_unfinished_is_written_whole(site: Site) -> None:
    with site.file() as file:
        site.put(file, "a")
    killed(site, "b", "c")
    with site.path.open("ab") as file_itself:
        file_itself.write(json.dumps(event("b")).encode()[:50])
    with site.file():
        pass
    assert site.lines() == ["a", "b", "c"]


@pytest.mark.parametrize("tail", [b"a note", b'{"id": "whole"}'])
def test_the_last_line_of_somebody_else_is_left_alone(site: Site, tail: bytes) -> None:
    site.path.write_bytes(tail)
    with site.file() as file:
        site.put(file, "a")
    first, second = site.path.read_bytes().splitlines()
    assert first == tail
    assert json.loads(second)["id"] == "a"


def test_a_file_that_cannot_be_written_is_reported_and_written_later(site: Site, tmp_path: Path) -> None:
    site.path = tmp_path / "not" / "mounted" / "events.jsonl"
    with site.file() as file:
        site.put(file, "a", "b")
        until(lambda: file.not_ready() != [])
        (reason,) = file.not_ready()
        assert "not/mounted/events.jsonl cannot be opened: No such file" in reason
        assert site.store.get("b") is not None
        site.path.parent.mkdir(parents=True)
        until(lambda: file.not_ready() == [])
        site.put(file, "c")
    assert site.lines() == ["a", "b", "c"]


def test_a_full_disk_is_reported_as_that(site: Site) -> None:
    site.path = Path("/dev/full")
    with site.file() as file:
        site.put(file, "a")
        until(lambda: file.not_ready() != [])
        assert "/dev/full cannot be written: No space left on device: the disk is full" in file.not_ready()[0]


def test_a_pipe_that_nobody_reads_holds_up_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_file, "HANGS_S", 0.0)
    monkeypatch.setattr(event_file, "_CLOSE_S", 0.01)
    os.mkfifo(site.path)
    with site.file() as file:
        site.put(file, "a")
        until(lambda: any("has lasted" in reason for reason in file.not_ready()))
        site.put(file, "b")
    with site.path.open("rb") as pipe:  # now somebody does
        assert [json.loads(pipe.readline())["id"] for _ in range(2)] == ["a", "b"]
    file._thread.join(30)


def test_a_file_that_was_moved_away_is_begun_anew(site: Site, tmp_path: Path) -> None:
    with site.file() as file:
        site.put(file, "a")
        until(lambda: site.path.exists() and site.lines() == ["a"])
        moved = site.path.rename(tmp_path / "events.jsonl.1")
        site.put(file, "b")
        until(lambda: site.path.exists())
        site.put(file, "c")
    in_both = [json.loads(line)["id"] for line in (moved.read_text() + site.path.read_text()).splitlines()]
    assert in_both == ["a", "b", "c"]


def test_a_final_that_comes_before_its_preview_is_written_makes_one_line(site: Site) -> None:
    with site.file():
        pass
    site.put(None, "a", state="preview")
    site.put(None, "a", state="final")
    with site.file() as file:
        site.put(file, "b")
    assert site.lines() == ["a", "b"]


def test_sites_that_share_a_store_and_a_file_write_each_event_once(site: Site) -> None:
    names = [f"e{number}" for number in range(200)]
    with site.file() as one, site.file() as other:
        for name in names:
            site.put(one, name)
            other.hear({"type": "event", "event": {}})
        until(lambda: len(site.lines()) >= len(names))
    assert site.lines() == names


def test_a_store_that_was_begun_anew_goes_on_in_the_same_file(site: Site) -> None:
    with site.file() as file:
        site.put(file, "a", "b", "c")
        until(lambda: site.lines() == ["a", "b", "c"])
        for part in site.store.path.parent.iterdir():
            part.unlink()
        site.put(file, "d")
        until(lambda: site.lines() == ["a", "b", "c", "d"])
