import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from platoon.errors import StoreError
from platoon.store.lines import JsonLines


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_lines_are_added_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text in ("LS15EBC", "Ö-KL 12"):
        with JsonLines(path) as lines:
            lines.append({"text": text})
    assert [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()] == ["LS15EBC", "Ö-KL 12"]


def test_a_line_that_does_not_fit_leaves_nothing_of_itself_and_fits_later(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with JsonLines(path) as lines:
        lines.append({"n": 1})
        with disk_of(20), pytest.raises(StoreError, match=r"events\.jsonl cannot be written: File too large"):
            lines.append({"n": 2, "text": "longer than there is room for"})
        assert path.read_text() == '{"n": 1}\n'
        lines.append({"n": 2})
    assert path.read_text() == '{"n": 1}\n{"n": 2}\n'


def test_a_full_device_is_named() -> None:
    full = Path("/dev/full")
    with JsonLines(full) as lines, pytest.raises(StoreError, match="/dev/full cannot be written: No space"):
        lines.append({"n": 1})


def test_a_pipe_takes_lines_too(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with JsonLines(fifo) as lines:
        lines.append({"n": 1})
    assert os.read(reading, 100) == b'{"n": 1}\n'
    os.close(reading)


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "nowhere" / "events.jsonl")
    with pytest.raises(StoreError, match=r"nowhere/events\.jsonl cannot be opened"), lines:
        pass
