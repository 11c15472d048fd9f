import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from platoon.private import close, make_file, make_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def open_by_default() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_is_made_is_for_this_user_alone(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_file(tmp_path / "a" / "b" / "file")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)
    assert mode(tmp_path / "a" / "b" / "file") == 0o600


def test_what_was_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir(0o755)
    (folder / "file").write_text("kept")
    make_folder(folder)
    make_file(folder / "file")
    assert (mode(folder), mode(folder / "file")) == (0o700, 0o600)
    assert (folder / "file").read_text() == "kept"


def test_a_folder_that_many_share_stays_open(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    make_folder(shared)
    assert mode(shared) == 0o1777


def test_a_pipe_keeps_its_readers(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o644)
    close(tmp_path / "pipe")
    assert mode(tmp_path / "pipe") == 0o644


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        make_folder(tmp_path / "file")
