import contextlib
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from platoon.errors import DeadlineExceeded, InvalidInput, PlatoonError, Unavailable
from platoon.ocr.confined import Confined
from platoon.ocr.pages import open_file
from platoon.ocr.picture import is_plain, load_picture, picture_size
from tests import bombs
from tests.drawn import INVOICE, document, encoded, page

INK = page(*INVOICE)
SOME_MEGABYTES = 150 << 10
"""Of the kilobytes in which the system tells the most memory that was used."""


def most_used() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def helpers() -> list[str]:
    return [child.name() for child in psutil.Process().children() if "platoon.ocr" in " ".join(child.cmdline())]


@pytest.fixture(autouse=True)
def nothing_grows_or_stays() -> Iterator[None]:
    before = most_used()
    yield
    assert most_used() - before < SOME_MEGABYTES
    assert not helpers()


BOMBS = {
    "an MPO of many scans": bombs.as_mpo(bombs.jpeg_of_scans(20_000, 2000)),
    "a JPEG of many scans": bombs.jpeg_of_scans(20_000, 2000),
    "a TIFF of a JPEG of many scans": bombs.tiff_of_jpeg(bombs.jpeg_of_scans(20_000, 2000), 2000),
    "a PDF of objects deflated twice": bombs.pdf_of_objects_deflated_twice(),
}


@pytest.mark.parametrize("what", BOMBS)
def test_what_unpacks_to_gigabytes_or_never_ends_is_refused(what: str) -> None:
    data = BOMBS[what]
    assert len(data) < 3 << 20
    with (
        pytest.raises((InvalidInput, DeadlineExceeded)),
        open_file(data, max_pages=5, max_pixels=64_000_000, page_s=5.0) as file,
    ):
        for sheet in file.draw([0]):
            if isinstance(sheet, PlatoonError):
                raise sheet


def test_tags_that_claim_each_other_cost_nothing_here() -> None:
    tags = bombs.tags_that_overlap(60_000, 1 << 20)
    for data in (tags, bombs.exif_of(tags, encoded(INK, "JPEG"))):
        with contextlib.suppress(InvalidInput):  # newer versions of Pillow leave out what cannot be
            load_picture(data)


def test_of_many_frames_only_the_first_is_looked_at() -> None:
    data = bombs.gif_of_frames(100_000)
    assert picture_size(data) == (1, 1)
    assert load_picture(data).shape == (1, 1, 3)


def test_directories_in_a_circle_come_to_an_end() -> None:
    with open_file(bombs.tiff_in_a_circle(3), max_pages=5, max_pixels=1000, page_s=30.0) as file:
        assert len(file.sizes) == 3
    with (
        pytest.raises(InvalidInput, match="more than 5 pages"),
        open_file(bombs.tiff_in_a_circle(2000), max_pages=5, max_pixels=1000, page_s=30.0),
    ):
        pass


def test_what_cameras_and_clients_send_is_decoded_right_here() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        assert is_plain(encoded(INK, kind))
    for data in (
        encoded(INK, "GIF"),
        encoded(INK, "TIFF"),
        document([INK]),
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ):
        assert not is_plain(data) or len(data) < 9  # what ends there cannot cost anything


def test_a_picture_of_several_is_the_first_of_them() -> None:
    jpeg = encoded(INK, "JPEG")
    np.testing.assert_array_equal(load_picture(bombs.as_mpo(jpeg) + jpeg), load_picture(jpeg))


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_a_picture_decoded_apart_is_the_same(kind: str) -> None:
    picture = load_picture(encoded(INK, kind))
    assert np.abs(picture.astype(int) - INK).max() <= (0 if kind == "TIFF" else 40)


@pytest.fixture
def sleeper(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that answers once and then no more."""
    module = "does_not_answer"
    (tmp_path / f"{module}.py").write_text(  # type: ignore[operator]
        "import sys, time\nprint('{}', flush=True)\nsys.stdin.readline()\ntime.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    return module


def test_a_process_that_does_not_answer_is_given_up_and_ended(sleeper: str) -> None:
    process = Confined(sleeper, [], [], work="wake up", step_s=30.0)
    try:
        assert process.answer("it") == {}
        process._step_s = 0.2
        process.begin()
        process.ask("anything")
        with pytest.raises(DeadlineExceeded, match=r"it took longer than 0\.2 s to wake up"):
            process.answer("it")
    finally:
        process.close()
    assert process._process.returncode == -9


def test_a_process_that_cannot_be_started_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable, match="No such file"):
        load_picture(encoded(INK, "GIF"))


def test_pictures_are_decoded_apart_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    most, now, lock = 0, 0, threading.Lock()
    popen, wait = subprocess.Popen.__init__, subprocess.Popen.wait

    def begin(self: subprocess.Popen[bytes], *args: object, **options: object) -> None:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        popen(self, *args, **options)  # type: ignore[call-overload]

    def end(self: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        nonlocal now
        with lock:
            now -= 1
        return wait(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "__init__", begin)
    monkeypatch.setattr(subprocess.Popen, "wait", end)
    data = encoded(INK, "GIF")
    threads = [threading.Thread(target=load_picture, args=(data,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 4
