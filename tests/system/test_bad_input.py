"""What cannot be read, written or had: an error that names it and the way out, an exit code, and nothing lost."""

import json
import resource
import socket
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from platoon.media.synthetic.plates import STYLES, draw_plate
from tests.clips import cut, write_sound
from tests.running import Place
from tests.traffic import GATE, write_traffic

PLATES = ["KX52NHA", "YB19TFE"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of good and bad files."""
    folder = tmp_path_factory.mktemp("files")
    clip = write_traffic(folder / "good.mkv", GATE[:2])
    cut(clip, 0.55, folder / "cut.mkv")
    cut(write_traffic(folder / "whole.mp4", GATE[:1]), 0.5, folder / "headless.mp4")
    (folder / "text.mp4").write_text("a shopping list\n" * 20)
    (folder / "empty.mp4").touch()
    (folder / "noise.mp4").write_bytes(np.random.default_rng(1).bytes(50_000))
    write_sound(folder / "sound.wav").rename(folder / "sound.mov")
    picture = np.full((300, 640, 3), 100, np.uint8)
    for written, scale, (x, y) in ((GATE[0], 0.6, (200, 60)), (GATE[1], 0.3, (30, 200))):
        plate = draw_plate(written, STYLES["GB"], px_per_mm=scale)
        picture[y : y + plate.shape[0], x : x + plate.shape[1]] = plate
    cv2.imwrite(str(folder / "good.jpg"), picture[:, :, ::-1])
    cut(folder / "good.jpg", 0.5, folder / "cut.jpg")
    (folder / "text.jpg").write_text("a shopping list")
    (folder / "empty.jpg").touch()
    (folder / "huge.png").write_bytes(png_that_declares(60_000, 60_000))
    (folder / "folder").mkdir()
    return folder


def png_that_declares(width: int, height: int) -> bytes:
    """A few bytes that ask for gigabytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_plates_of_pictures_and_clips_are_lines_of_json_and_each_bad_file_says_what_it_is(
    quick: Place, files: Path
) -> None:
    reasons = {
        "cut.mkv": "cut off",
        "headless.mp4": "not a video, or damaged",
        "text.mp4": "not a video, or damaged",
        "empty.mp4": "the file is empty",
        "noise.mp4": "not a video, or damaged",
        "sound.mov": "there is no video in it",
        "missing.mp4": "no such file",
        "cut.jpg": "truncated",
        "text.jpg": "no picture",
        "empty.jpg": "the file is empty",
        "huge.png": "pixels",
        "missing.jpg": "no such file",
        "folder": "is a folder with no files in it",
    }
    names = ["good.jpg", "good.mkv", *reasons]
    done = quick.run("read", "--plates", "--json", *(files / name for name in names))
    results = [json.loads(line) for line in done.out.splitlines()]
    assert [result["path"] for result in results] == [str(files / name) for name in names]
    assert all(result.keys() == {"path", "plates", "notes", "error"} for result in results)
    picture, clip, *bad = results
    assert [plate["text"] for plate in picture["plates"]] == PLATES
    assert sorted(plate["text"] for plate in clip["plates"]) == PLATES
    for plate in (*picture["plates"], *clip["plates"]):
        assert plate.keys() - {"time_s"} == {"text", "raw", "confidence", "box", "candidates", "countries"}
        assert plate["candidates"][0]["text"] == plate["text"]
        assert plate["countries"]["GB"] > 0.1
        left, top, right, bottom = plate["box"]
        assert right - left > 2 * (bottom - top) > 0
        assert 0.5 < plate["confidence"] <= 1
    assert all("time_s" not in plate for plate in picture["plates"])
    assert sorted(plate["text"] for plate in clip["plates"] if plate["time_s"] > 2) == PLATES[1:]
    assert picture["error"] is None
    assert clip["error"] is None
    for result, reason in zip(bad, reasons.values(), strict=True):
        assert Path(result["path"]).name in result["error"]
        assert reason in result["error"]
    assert [plate["text"] for plate in bad[0]["plates"]] == PLATES[:1], "what was there before the cut is given"
    assert done.code == 1
    assert f"{len(bad)} of {len(names)} could not be read" in done.err


def test_without_plates_all_lines_of_text_are_read(quick: Place, files: Path) -> None:
    done = quick.run("read", files / "good.jpg", files / "good.mkv", files / "missing.jpg")
    assert done.code == 1, done
    rows = [line.split("\t") for line in done.out.splitlines()]
    for name in ("good.jpg", "good.mkv"):
        read = {text.replace(" ", "") for path, text, _ in rows if path == str(files / name)}
        assert set(PLATES) <= read
    assert "missing.jpg: no such file" in done.err


def test_cameras_that_cannot_be_read_are_named_and_the_others_are_read_to_their_end(quick: Place, files: Path) -> None:
    reasons = {
        "cut.mkv": "cut off",
        "headless.mp4": "not a video, or damaged",
        "text.mp4": "not a video, or damaged",
        "empty.mp4": "the file is empty",
        "sound.mov": "there is no video in it",
        "missing.mp4": "no such file",
        "folder": "a folder",
    }
    names = ["good.mkv", *reasons]
    quick.register(*(f"cam{n}|{name}|{files / name}|0" for n, name in enumerate(names)))
    done = quick.run("run", quick.registry, "--once", "--every", "2", "--events", quick.event_file)
    assert done.code == 1, done
    for n, (name, reason) in enumerate(reasons.items(), 1):
        (line,) = (line for line in done.err.splitlines() if f"camera cam{n}:" in line)
        assert name in line
        assert reason in line
    seen = [(event["camera"], event["text"]) for event in quick.emitted()]
    assert sorted(seen) == [("cam0", PLATES[0]), ("cam0", PLATES[1]), ("cam1", PLATES[0])]


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        (None, ["cannot read the camera registry", "cameras.txt", "No such file"]),
        (["# all gone"], ["names no camera", "id|name|url|port"]),
        (
            ["gate|Gate|rtsp://admin:secret@10.0.0.1/1|0", "gate|Again|gopher://x:secret@h/1|99999", "only|two"],
            ["2 bad lines", "line 2", "already used in line 1", "99999", "line 3: has 2 fields"],
        ),
    ],
    ids=["missing", "empty", "bad lines"],
)
def test_a_registry_that_cannot_be_used_starts_nothing(
    place: Place, lines: list[str] | None, reasons: list[str]
) -> None:
    if lines is not None:
        place.register(*lines)
    done = place.run("run", place.registry)
    assert done.code == 2, done
    assert all(reason in done.err for reason in reasons), done
    assert "secret" not in done.err
    assert not place.store.exists()


@pytest.mark.parametrize(
    ("options", "settings", "reasons"),
    [
        (["--once"], {}, ["--once reads files", "gate"]),
        (["--once", "--loop"], {}, ["--once and --loop exclude each other"]),
        (["--settings", "nowhere.toml"], {}, ["nowhere.toml", "No such file"]),
        ([], {"analysis__fps": -1, "plates__input_width": 333}, ["analysis.fps", "plates.input_width", "multiple"]),
    ],
    ids=["once with a stream", "once and loop", "no settings file", "settings out of bounds"],
)
def test_a_command_that_does_not_fit_ends_with_2(
    place: Place, options: list[str], settings: dict[str, object], reasons: list[str]
) -> None:
    place.settings |= settings
    place.register("gate|Gate|rtsp://10.0.0.1/1|0")
    done = place.run("run", place.registry, *options)
    assert done.code == 2, done
    assert all(reason in done.err for reason in reasons), done


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize("options", [[], ["--isolated"]], ids=["shared", "isolated"])
@pytest.mark.parametrize("whose", ["site", "camera"])
def test_a_port_in_use_is_named_and_no_camera_is_connected_to(
    place: Place, taken: int, whose: str, options: list[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as camera:
        address = f"rtsp://127.0.0.1:{camera.getsockname()[1]}/1"
        place.register(f"gate|Gate|{address}|{taken if whose == 'camera' else 0}")
        place.settings["api__port"] = taken if whose == "site" else 0
        done = place.run("run", place.registry, *options)
        camera.settimeout(0)
        with pytest.raises(BlockingIOError):
            camera.accept()
    assert done.code == 1, done
    assert f"port {taken} on 127.0.0.1 is in use" in done.err
    way_out = "PLATOON_API__PORT" if whose == "site" else "give camera 'gate' another port in the registry"
    assert way_out in done.err


@pytest.mark.parametrize("options", [[], ["--isolated"]], ids=["shared", "isolated"])
def test_an_event_file_on_a_full_disk_ends_the_run_and_the_store_keeps_what_it_has(
    quick: Place, files: Path, options: list[str]
) -> None:
    quick.register(f"gate|Gate|{files}/good.mkv|0")
    done = quick.run("run", quick.registry, "--once", "--every", "2", "--events", "/dev/full", *options)
    assert done.code == 1, done
    assert "the event file /dev/full cannot be written: No space left on device" in done.err
    assert PLATES[0] in plates_kept(quick)


def test_a_store_on_a_full_disk_ends_the_run_and_keeps_what_was_written(quick: Place, files: Path) -> None:
    quick.register(f"gate|Gate|{files}/good.mkv|0")
    command: list[str | Path] = ["run", quick.registry, "--once", "--every", "2", "--events", quick.event_file]
    assert quick.run(*command).code == 0
    before = plates_kept(quick)
    room = (quick.store / "events.sqlite").stat().st_size
    done = quick.run(*command, prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room // 2, room // 2)))
    assert done.code == 1, done
    assert "events.sqlite cannot be" in done.err
    assert plates_kept(quick) == before == PLATES
    assert [event["text"] for event in quick.emitted()] == PLATES
    assert quick.run(*command).code == 0, "with room again, it goes on"
    assert plates_kept(quick) == PLATES * 2


def plates_kept(place: Place) -> list[str]:
    with closing(sqlite3.connect(place.store / "events.sqlite")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [plate for (plate,) in database.execute("SELECT plate FROM event ORDER BY number")]


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        (["--store", "a-file"], ["a-file", "PLATOON_STORE__PATH"]),
        (["--events", "nowhere/events.jsonl"], ["nowhere/events.jsonl", "No such file or directory"]),
    ],
    ids=["store", "events"],
)
def test_a_place_that_cannot_be_written_is_named_before_anything_starts(
    place: Place, files: Path, options: list[str], reasons: list[str]
) -> None:
    (place.folder / "a-file").touch()
    place.register(f"gate|Gate|{files}/good.mkv|0")
    done = place.run("run", place.registry, "--once", *options)
    assert done.code == 1, done
    assert all(reason in done.err for reason in reasons), done


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="the extra for GPUs is installed"
)
def test_a_runtime_that_needs_an_extra_says_which(place: Place, files: Path) -> None:
    place.settings["engine__runtime"] = "cuda"
    place.register(f"gate|Gate|{files}/good.mkv|0")
    done = place.run("run", place.registry, "--once")
    assert done.code == 1, done
    assert "pip install 'platoon[gpu]'" in done.err
