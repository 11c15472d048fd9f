import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from platoon.errors import StoreUnusable
from platoon.store.database import Database, give_back

THINGS = Database(Path(), "things", "CREATE TABLE thing (data BLOB);", 1, 7, "THINGS__KEEP")


def at(path: Path, **changes: object) -> Database:
    return Database(**{name: getattr(THINGS, name) for name in THINGS.__slots__} | {"path": path} | changes)


@pytest.mark.parametrize("older", [False, True])
def test_what_is_deleted_is_given_back_to_the_disk(tmp_path: Path, older: bool) -> None:
    path = tmp_path / "things.sqlite"
    if older:  # made without the means to shrink
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute(THINGS.schema)
            db.execute("PRAGMA application_id = 7")
            db.execute("PRAGMA user_version = 1")
    with closing(at(path).open()) as db:
        for _ in range(20):
            db.execute("INSERT INTO thing VALUES (zeroblob(1000000))")
        db.execute("DELETE FROM thing")
        give_back(db)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert path.stat().st_size < 1_000_000


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "things.sqlite"
    with closing(at(path).open()) as db:
        db.execute("INSERT INTO thing VALUES ('x')")
    upgrades = {1: "ALTER TABLE thing ADD COLUMN size INTEGER;", 2: "UPDATE thing SET size = length(data);"}
    with closing(at(path, version=3, upgrades=upgrades).open()) as db:
        assert db.execute("SELECT data, size FROM thing").fetchall() == [("x", 1)]
    with closing(at(path, version=3, upgrades=upgrades).open()):
        pass  # nothing is done twice
    with pytest.raises(StoreUnusable, match="newer"):
        at(path).open()
