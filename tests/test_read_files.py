"""What `platoon read` makes of files: by their content, all of them, and one that fails takes no other with it.

Plates are the brightness of a picture here, so that no model is needed.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

import platoon.read_files as module
from platoon.media.frame import Pixels
from platoon.media.recording import recording
from platoon.plates.events import Gate
from platoon.plates.recorded import ClipPlates, FoundPlate, HeldBack
from platoon.read_files import PICTURES_MOST, read_files
from platoon.settings import Settings
from tests.clips import write_clip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache=tmp_path / "cache")


@pytest.fixture(autouse=True)
def by_brightness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture's plate is `B` and its brightness, none in black; a clip's is the number of its frames."""

    def of_picture(
        _engine: object, picture: Pixels, *_: object, held_back: Callable[[HeldBack], None]
    ) -> list[FoundPlate]:
        level = round(float(picture.mean()))
        found = FoundPlate(f"B{level}", "", 0.9, (0, 0, 1, 1))
        if level == 255:
            raise RuntimeError("TopK: rtsp://admin:S3cret@10.0.0.1/x")
        if level == 200:
            held_back(HeldBack(Gate.IMPLAUSIBLE, found))
            return []
        return [found] if level else []

    def of_clip(name: str, _engine: object, settings: Settings, *_: object, **_how: object) -> ClipPlates:
        with recording(name, settings.source) as clip:
            count = sum(1 for _ in clip.pictures())
        return ClipPlates([FoundPlate(f"F{count}", "", 0.9, (0, 0, 1, 1), time_s=0.5)], [], None)

    monkeypatch.setattr(module, "read_picture", of_picture)
    monkeypatch.setattr(module, "read_clip", of_clip)


@pytest.fixture
def read(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., list[dict[str, Any]]]:
    def read(*names: Path | str, fails: bool = False, **how: Any) -> list[dict[str, Any]]:
        texts = [str(name) for name in names]
        if fails:
            with pytest.raises(typer.Exit):
                read_files(texts, settings, plates=True, as_json=True, **how)
        else:
            read_files(texts, settings, plates=True, as_json=True, **how)
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return read


def shade(level: int, size: tuple[int, int] = (64, 48)) -> Image.Image:
    return Image.new("RGB", size, (level, level, level))


def texts(result: dict[str, Any]) -> list[tuple[str, int | None]]:
    return [(plate["text"], plate.get("page")) for plate in result["plates"]]


def test_an_error_that_nobody_foresaw_costs_its_file_alone(tmp_path: Path, read: Any) -> None:
    for name, level in (("one.png", 10), ("odd.png", 255), ("two.png", 20)):
        shade(level).save(tmp_path / name)
    one, odd, two = read(*(tmp_path / name for name in ("one.png", "odd.png", "two.png")), fails=True)
    assert (one["error"], two["error"]) == (None, None)
    assert (texts(one), texts(two)) == ([("B10", None)], [("B20", None)])
    assert "odd.png cannot be read: RuntimeError: TopK" in odd["error"]
    assert "S3cret" not in odd["error"]


def test_the_password_in_an_address_is_in_no_row(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plate = FoundPlate("AB123CD", "", 0.9, (0, 0, 1, 1))
    held = HeldBack(Gate.IMPLAUSIBLE, plate)
    monkeypatch.setattr(module, "read_clip", lambda *_, **__: ClipPlates([plate], [held], None))
    for as_json in (False, True):
        read_files(["http://guard:S3cretPw@10.0.0.1/a.mp4"], settings, plates=True, as_json=as_json, held_back=True)
        out = "".join(capsys.readouterr())
        assert out.count("AB123CD") == 2
        assert "10.0.0.1/a.mp4" in out
        assert "S3cretPw" not in out


def test_a_name_that_is_no_text_is_written_all_the_same(tmp_path: Path, read: Any) -> None:
    odd = tmp_path / "caf\udce9.png"
    shade(10).save(odd)
    (result,) = read(odd)
    assert Path(result["path"]) == odd


@pytest.mark.parametrize("name", ["nothing.png", "x" * 5000, "nul\0byte", "\udcff"])
def test_names_that_no_file_has_are_errors_of_their_own(name: str, tmp_path: Path, read: Any) -> None:
    shade(10).save(tmp_path / "good.png")
    bad, good = read(name, tmp_path / "good.png", fails=True)
    assert bad["error"]
    assert texts(good) == [("B10", None)]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_all_pictures_in_a_file_are_read(kind: str, tmp_path: Path, read: Any) -> None:
    file = tmp_path / "several"
    options = {"lossless": True} if kind == "WEBP" else {}
    shade(0).save(file, kind, save_all=True, append_images=[shade(0), shade(40), shade(90)], **options)
    (result,) = read(file)
    assert texts(result)[-2:] == [("B40", result["plates"][-2]["page"]), ("B90", result["plates"][-1]["page"])]
    assert [page for _, page in texts(result)] == sorted(page or 0 for _, page in texts(result))
    assert result["notes"] == []


def test_in_an_animation_each_text_is_given_once_and_on_pages_each_time(tmp_path: Path, read: Any) -> None:
    levels = [40, 90, 40, 90, 41]
    frames = [shade(level) for level in levels]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    animation, pages = read(tmp_path / "a.gif", tmp_path / "a.tif")
    assert texts(animation) == [("B40", 1), ("B90", 2), ("B41", 5)]
    assert texts(pages) == [("B40", 1), ("B90", 2), ("B40", 3), ("B90", 4), ("B41", 5)]


def test_of_very_many_pictures_some_are_left_out_and_that_is_said(tmp_path: Path, read: Any) -> None:
    count = 2 * PICTURES_MOST
    frames = [Image.new("L", (4, 4), 1 + number % 97) for number in range(count)]
    frames[0].save(tmp_path / "long.tif", save_all=True, append_images=frames[1:])
    (result,) = read(tmp_path / "long.tif")
    assert len(result["plates"]) == PICTURES_MOST
    assert (texts(result)[0][1], texts(result)[-1][1]) == (1, count)
    assert result["notes"] == [f"{PICTURES_MOST} of {count} pictures in it were read, evenly over all"]


def test_a_page_that_is_damaged_leaves_the_others(tmp_path: Path, read: Any) -> None:
    noise = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (64, 64, 3), np.uint8)) for n in range(3)]
    buffer = io.BytesIO()
    noise[0].save(buffer, "TIFF", save_all=True, append_images=noise[1:], compression="tiff_lzw")
    data = bytearray(buffer.getvalue())
    with Image.open(buffer) as whole:
        whole.seek(1)
        start = whole.tag_v2[273][0]  # type: ignore[attr-defined]
    data[start : start + 2000] = bytes(2000)
    (tmp_path / "bad.tif").write_bytes(data)
    (result,) = read(tmp_path / "bad.tif", fails=True)
    assert [page for _, page in texts(result)] == [1, 3]
    assert "page 2 of" in result["error"]


@pytest.mark.parametrize(
    ("suffix", "codec", "pixel_format"),
    [
        (".3gp", "libx264", "yuv420p"),
        (".asf", "libx264", "yuv420p"),
        (".m2ts", "libx264", "yuv420p"),
        (".mts", "libx264", "yuv420p"),
        (".vob", "mpeg2video", "yuv420p"),
        (".h264", "libx264", "yuv420p"),
        (".265", "libx265", "yuv420p"),
        (".mxf", "mpeg2video", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".mjpeg", "mjpeg", "yuvj420p"),
        (".webm", "libvpx", "yuv420p"),
        (".y4m", "wrapped_avframe", "yuv420p"),
    ],
)
@pytest.mark.parametrize("shown", [None, "clip", "photo.jpg"])
def test_what_a_clip_is_its_content_says(
    suffix: str, codec: str, pixel_format: str, shown: str | None, tmp_path: Path, read: Any
) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    file = write_clip(
        tmp_path / f"clip{suffix}", frames=12, fps=25, codec=codec, pixel_format=pixel_format, options=options
    )
    if shown is not None:
        file = file.rename(tmp_path / shown)
    (result,) = read(file)
    assert result["plates"][0]["text"] == "F12"
    assert result["plates"][0]["time_s"] == 0.5


def test_a_picture_that_is_called_a_clip_is_a_picture(tmp_path: Path, read: Any) -> None:
    shade(30).save(tmp_path / "photo.mp4", "JPEG")
    (result,) = read(tmp_path / "photo.mp4")
    assert texts(result) == [("B30", None)]


def test_a_smaller_picture_behind_one_makes_it_no_video(tmp_path: Path, read: Any) -> None:
    behind = io.BytesIO()
    shade(250, (16, 12)).save(behind, "JPEG")
    shade(30).save(tmp_path / "phone.jpg")
    with (tmp_path / "phone.jpg").open("ab") as file:
        file.write(behind.getvalue())
    (result,) = read(tmp_path / "phone.jpg")
    assert texts(result) == [("B30", None)]


def test_a_folder_is_what_lies_right_in_it_and_what_is_neither_picture_nor_clip_is_said(
    tmp_path: Path, read: Any, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    shade(10).save(folder / "b.png")
    write_clip(folder / "a.bin.mp4", frames=3).rename(folder / "a")
    (folder / "notes.txt").write_text("a shopping list\n" * 9)
    shade(20).save(folder / "deeper" / "c.png")
    read_files([str(folder)], settings, plates=True, as_json=False)
    said = capsys.readouterr()
    assert [line.split("\t")[1] for line in said.out.splitlines()] == ["F3", "B10"]
    assert "notes.txt is left out" in said.err
    (named,) = read(folder / "notes.txt", fails=True)
    assert "no picture" in named["error"]


def test_a_file_may_be_named_by_its_address(tmp_path: Path, read: Any) -> None:
    (tmp_path / "a folder").mkdir()
    shade(10).save(tmp_path / "a folder" / "10.png")
    assert texts(read((tmp_path / "a folder" / "10.png").as_uri())[0]) == [("B10", None)]


def test_a_pattern_that_no_shell_has_resolved_is_resolved(tmp_path: Path, read: Any) -> None:
    for level in (10, 20):
        shade(level).save(tmp_path / f"{level}.png")
    assert [texts(result) for result in read(tmp_path / "*.png")] == [[("B10", None)], [("B20", None)]]


@pytest.mark.parametrize("address", ["rtsp://admin:S3cret@10.0.0.1/x", "RTSPS://admin:S3cret@10.0.0.1/x"])
def test_the_address_of_a_camera_is_shown_where_it_belongs_and_no_password(
    address: str, tmp_path: Path, read: Any
) -> None:
    shade(10).save(tmp_path / "good.png")
    camera, good = read(address, tmp_path / "good.png", fails=True)
    assert "platoon run" in camera["error"]
    assert "S3cret" not in json.dumps(camera)
    assert texts(good) == [("B10", None)]


def test_what_is_held_back_is_counted_and_shown_where_that_is_wanted(
    tmp_path: Path, read: Any, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    shade(200).save(tmp_path / "unsure.png")
    (counted,) = read(tmp_path / "unsure.png")
    assert (counted["plates"], counted["notes"]) == ([], ["held back: 1 implausible; --all shows them"])
    (shown,) = read(tmp_path / "unsure.png", held_back=True)
    assert [(one["text"], one["gate"]) for one in shown["held_back"]] == [("B200", "implausible")]
    read_files([str(tmp_path / "unsure.png")], settings, plates=True, as_json=False)
    assert "held back: 1 implausible" in capsys.readouterr().err
