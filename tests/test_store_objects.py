import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from platoon.errors import InvalidInput, NotFound, StoreError
from platoon.store.objects import ObjectStore
from tests.small_disk import fill, small_disk


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "crops" if request.param == "folder" else "memory:///")


def test_what_was_put_comes_back(store: ObjectStore) -> None:
    store.put("gate/a b/Ä.jpg", b"picture")
    assert store.get("gate/a b/Ä.jpg") == b"picture"
    assert store.size("gate/a b/Ä.jpg") == 7


def test_a_second_put_replaces_the_first(store: ObjectStore) -> None:
    store.put("a.jpg", b"preview")
    store.put("a.jpg", b"final")
    assert store.get("a.jpg") == b"final"


def test_what_is_missing_is_not_found_and_has_no_size(store: ObjectStore) -> None:
    with pytest.raises(NotFound, match=r"none\.jpg"):
        store.get("none.jpg")
    assert store.size("none.jpg") == 0


def test_deleting_skips_what_is_not_there(store: ObjectStore) -> None:
    store.put("a.jpg", b"1")
    store.put("c.jpg", b"3")
    store.delete(["a.jpg", "b.jpg", "c.jpg"])
    assert [stored for folder in store.walk() for stored in folder] == []


def test_all_objects_are_listed_and_have_sizes(store: ObjectStore) -> None:
    store.put("gate/a.jpg", b"1")
    store.put("yard/b.jpg", b"22")
    listed = {stored.key: store.size(stored.key) for folder in store.walk() for stored in folder}
    assert listed == {"gate/a.jpg": 1, "yard/b.jpg": 2}


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../up.jpg", "a/../../b", "a//b", "a/.", "a\\b", "a\x00b", "a\nb", "x" * 600]
)
def test_a_key_that_could_lead_elsewhere_is_refused(store: ObjectStore, key: str) -> None:
    for attempt in (lambda: store.put(key, b""), lambda: store.get(key), lambda: store.delete([key])):
        with pytest.raises(InvalidInput, match="not a key"):
            attempt()


def test_nothing_half_written_lies_in_the_folder(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    store.put("gate/a.jpg", b"1" * 100_000)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.jpg"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.*PLATOON_STORE__PATH"):
        ObjectStore(tmp_path / "file" / "crops")


def test_pictures_are_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store = ObjectStore(tmp_path / "crops")
        store.put("gate/2026/01/31/a.jpg", b"1")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"crops": 0o700, "gate": 0o700, "2026": 0o700, "01": 0o700, "31": 0o700, "a.jpg": 0o600}


def test_a_full_disk_is_called_that(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 1_000_000) as disk:
        store = ObjectStore(disk / "crops")
        fill(disk)
        with pytest.raises(StoreError, match=r"cannot be written: disk is full .*; free space on its disk"):
            store.put("gate/a.jpg", b"x" * 100_000)
        assert [path for path in disk.rglob("*.jpg*") if path.is_file()] == []


def test_a_walk_gives_folder_after_folder(store: ObjectStore) -> None:
    for key in ("top.jpg", "gate/1/a.jpg", "gate/2/b.jpg", "yard/1/c.jpg"):
        store.put(key, b"1")
    folders = [[stored.key for stored in folder] for folder in store.walk()]
    assert sorted(filter(None, folders)) == [["gate/1/a.jpg"], ["gate/2/b.jpg"], ["top.jpg"], ["yard/1/c.jpg"]]
    assert [len(folder) for folder in folders if len(folder) > 1] == []


def test_what_is_deleted_travels_in_a_list(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    store.put("a.jpg", b"1")
    monkeypatch.setattr(store, "_store", SimpleNamespace(delete=asked.append))
    store.delete(f"{number}.jpg" for number in range(3))
    store.delete([])
    assert asked == [["0.jpg", "1.jpg", "2.jpg"]]
