import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from platoon.errors import StoreError
from platoon.store import space
from platoon.store.database import Database, transaction
from tests.small_disk import fill, small_disk

MEGABYTE = 1_000_000


def database(path: Path) -> Database:
    return Database(path, "notes", "CREATE TABLE note (number INTEGER PRIMARY KEY, body BLOB);", 1, 77, "KEEP_LESS")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4 * MEGABYTE) as disk:
        yield disk


def test_a_transaction_that_finds_no_room_says_so_and_leaves_the_connection_usable(disk: Path) -> None:
    notes = database(disk / "notes.sqlite")
    db = notes.open()
    filling = fill(disk)
    with pytest.raises(StoreError, match=r"notes\.sqlite cannot be written: disk is full; free space"):  # noqa: SIM117
        with notes.explained("written"), transaction(db):
            for _ in range(100):
                db.execute("INSERT INTO note (body) VALUES (zeroblob(100000))")
    assert not db.in_transaction
    filling.unlink()
    with transaction(db):
        db.execute("INSERT INTO note (body) VALUES (x'01')")
    assert db.execute("SELECT count(*) FROM note").fetchone() == (1,)
    db.close()


def test_what_sqlite_has_rolled_back_by_itself_is_not_rolled_back_again(tmp_path: Path) -> None:
    notes = database(tmp_path / "notes.sqlite")
    db = notes.open()
    db.execute("PRAGMA max_page_count = 10")
    with pytest.raises(sqlite3.OperationalError, match="full"), transaction(db):
        for _ in range(100):
            db.execute("INSERT INTO note (body) VALUES (zeroblob(5000))")
    assert not db.in_transaction
    db.close()


@pytest.mark.parametrize(
    "name", ["SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_FSYNC", "SQLITE_CANTOPEN"]
)
def test_a_full_disk_is_called_that_however_sqlite_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = name
    notes = database(tmp_path / "notes.sqlite")
    with pytest.raises(StoreError, match="cannot be written: disk I/O error"), notes.explained("written"):
        raise error
    monkeypatch.setattr(space, "is_full", lambda folder: folder == tmp_path)
    with pytest.raises(StoreError, match="cannot be written: disk is full"), notes.explained("written"):
        raise error


def test_nobody_else_may_read_a_database_or_its_log(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        db = database(tmp_path / "made" / "notes.sqlite").open()
        db.execute("INSERT INTO note (body) VALUES (x'01')")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made").iterdir()}
        assert modes == {"notes.sqlite": 0o600, "notes.sqlite-wal": 0o600, "notes.sqlite-shm": 0o600}
        assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
        db.close()
    finally:
        os.umask(before)


def test_the_log_stays_small_however_much_is_written(tmp_path: Path) -> None:
    db = database(tmp_path / "notes.sqlite").open()
    db.execute("PRAGMA synchronous = OFF")  # no power fails here
    for _ in range(2000):
        db.execute("INSERT INTO note (body) VALUES (zeroblob(4000))")
    assert (tmp_path / "notes.sqlite-wal").stat().st_size < 2 * MEGABYTE
    db.close()
