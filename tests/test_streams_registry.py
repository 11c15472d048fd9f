import re
import threading
from pathlib import Path

import pytest

from platoon.errors import InvalidSettings
from platoon.streams.registry import CameraSpec, RegistryFollower, camera_of, changes, parse_registry, read_registry


def parse(text: str, main_port: int = 0) -> list[CameraSpec]:
    return parse_registry(text, where="plate_cams.txt", folder=Path("/site"), main_port=main_port)


def test_a_registry_with_comments_blank_lines_and_disabled_cameras() -> None:
    cameras = parse(
        "# the gate\n\ngate|Main gate|rtsp://u:p@10.0.0.5/1|8101\nyard | Yard | clips/yard.mp4 | 0\n"
        "back|Back|http://cam/video|8102|disabled\nside|Side|rtsp://cam/2|0|off\n"
    )
    assert [camera.id for camera in cameras] == ["gate", "yard", "back", "side"]
    assert [camera.enabled for camera in cameras] == [True, True, False, False]
    assert cameras[0] == CameraSpec("gate", "Main gate", "rtsp://u:p@10.0.0.5/1", 8101)
    assert cameras[1].url == "/site/clips/yard.mp4"


def test_every_bad_line_is_reported_with_its_number_and_reason_in_one_go() -> None:
    with pytest.raises(InvalidSettings) as caught:
        parse(
            "gate|Gate|rtsp://cam/1|8101\n"
            "only two|fields\n"
            "b ad|Name|rtsp://cam/1|0\n"
            "gate|Again|rtsp://cam/1|8101\n"
            "x|X|gopher://cam/1|99999\n"
            "y|Y|rtsp://admin:secret@/1|0|maybe\n"
            "z|Z||0\n"
            "main|M|rtsp://cam/9|8080\n",
            main_port=8080,
        )
    message = str(caught.value)
    for part in (
        "7 bad lines",
        "line 2: has 2 fields",
        "line 3: id 'b ad' must be",
        "line 4: id 'gate' is already used in line 1; port 8101 is already used in line 1",
        "line 5: the url gopher://cam/1 must start with rtsp",
        "the port must be a number from 0 (none) to 65535, not 99999",
        "line 6: the url rtsp://***@/1 names no host; the fifth field may only be 'disabled' or 'off'",
        "line 7: the url is empty",
        "line 8: port 8080 is the main port",
    ):
        assert part in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "line",
    [
        "a|A|rtsp://admin:S3c|ret@10.0.0.1/x|0",
        "a|A|rtsp://admin:12|S3cret@10.0.0.1/x|0",
        "a|A|rtsp://admin:12|S3cret@10.0.0.1/x",
        "rtsp://admin:S3cret@10.0.0.1/x|A|0",
        "rtsp://admin:S3cret@10.0.0.1/x|A|rtsp://cam/1|0",
        "rtsp://admin:S3c|ret@10.0.0.1/x|0|0",
        "a|A|rtsp:/admin:S3cret@10.0.0.1/x|0",
        "a|A|admin:S3cret@10.0.0.1/x|0",
        "a|A|rtsp:\\\\admin:S3cret@10.0.0.1\\x|0",
        "a|A|rtsp://admin:S3 cret@10.0.0.1/x|0",
        "a|A|rtsp://cam/1|0|S3cret@10.0.0.1/x",
        "a|A|gopher://cam/user=admin_password=S3cret_channel=1|0",
        "a|A|rtsp://admin:S3cret@10.0.0.1:554:7/x|0",
        "a|A|rtsp://admin:S3cret@[10.0.0.1/x|0",
    ],
)
def test_no_bad_line_shows_a_password(line: str) -> None:
    with pytest.raises(InvalidSettings, match="line 1: ") as caught:
        parse(f"{line}\n{line}\n")
    assert not re.search("S3c|3cret|cret|ret@", str(caught.value))


def test_a_name_that_holds_an_address_is_shown_without_its_credentials() -> None:
    (camera,) = parse("a|Gate rtsp://admin:S3cret@10.0.0.1/x|rtsp://admin:S3cret@10.0.0.1/x|0")
    assert camera.name == "Gate rtsp://***@10.0.0.1/x"
    assert "S3cret" not in repr(camera)


def test_a_file_may_be_named_as_strangely_as_it_likes_if_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "gate:1@2x.mp4").touch()
    (camera,) = parse_registry("a|A|gate:1@2x.mp4|0", where="", folder=tmp_path)
    assert camera.url == str(tmp_path / "gate:1@2x.mp4")


def test_a_registry_without_a_camera_or_without_a_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="names no camera"):
        parse("# nothing\n")
    with pytest.raises(InvalidSettings, match=r"missing\.txt"):
        read_registry(tmp_path / "missing.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InvalidSettings, match="not a text file"):
        read_registry(tmp_path / "binary.txt")


@pytest.mark.parametrize(
    "url", ["x\0y", "x@\0y", "file:///\0", "ab:" + "x" * 5000, "loop", "loop/clip.mp4", "rtsp://cam/\x1b[2J"]
)
def test_a_path_that_leads_nowhere_is_a_bad_line_like_any_other(tmp_path: Path, url: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InvalidSettings, match=r"1 bad line\n  line 2: the url "):
        parse_registry(f"a|A|rtsp://a/1|0\nb|B|{url}|0\n", where="cams.txt", folder=tmp_path)


def test_what_changes_of_ten_thousand_cameras_is_found_by_looking_at_each_once() -> None:
    class Counted(CameraSpec):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Counted.compared += 1
            return isinstance(other, CameraSpec) and self.id == other.id

        def __hash__(self) -> int:
            return hash(self.id)

    cameras = [Counted(f"camera {n}", "", f"rtsp://cam/{n}", 0) for n in range(10_000)]
    again = [Counted(f"camera {n}", "", f"rtsp://cam/{n}", 0) for n in reversed(range(10_000))]
    assert changes(cameras, again) == ([], [])
    assert Counted.compared < 100_000


def test_changes_touch_only_what_differs() -> None:
    a, b, c = (CameraSpec(name, name, f"rtsp://{name}/1", 0) for name in "abc")
    moved = CameraSpec("b", "b", "rtsp://elsewhere/1", 0)
    stop, start = changes([a, b], [a, moved, c])
    assert stop == [b]
    assert start == [moved, c]


def test_a_good_edit_is_applied_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cams.txt"
    path.write_text("a|A|rtsp://a/1|0\n")
    applied: list[list[str]] = []
    changed = threading.Event()

    def apply(cameras: list[CameraSpec]) -> None:
        applied.append([camera.id for camera in cameras])
        changed.set()

    def edit(text: str) -> None:
        fresh = tmp_path / "new.txt"
        fresh.write_text(text)
        fresh.replace(path)

    follower = RegistryFollower(path, apply, main_port=0)
    try:
        edit("a|A|rtsp://a/1|0\nbroken line\n")
        edit("a|A|rtsp://a/1|0\nb|B|rtsp://b/1|0\n")
        assert changed.wait(20)
    finally:
        follower.stop()
    assert applied == [["a", "b"]]


def test_an_edit_that_cannot_be_applied_does_not_keep_the_next_from_being(tmp_path: Path) -> None:
    path = tmp_path / "cams.txt"
    path.write_text("a|A|rtsp://a/1|0\n")
    tried, applied = threading.Event(), threading.Event()

    def apply(cameras: list[CameraSpec]) -> None:
        if len(cameras) == 2:
            tried.set()
            raise RuntimeError("no thread can be started")
        applied.set()

    follower = RegistryFollower(path, apply, main_port=0)
    try:
        path.write_text("a|A|rtsp://a/1|0\nb|B|rtsp://b/1|0\n")
        assert tried.wait(20)
        path.write_text("a|A|rtsp://elsewhere/1|0\n")
        assert applied.wait(20)
    finally:
        follower.stop()


def test_an_address_is_a_camera_without_a_registry() -> None:
    camera = camera_of("RTSP://admin:S3|cret@10.0.0.5:8554/cam?channel=1")
    assert (camera.id, camera.name, camera.port) == ("camera", "10.0.0.5", 0)
    assert camera.url == "RTSP://admin:S3|cret@10.0.0.5:8554/cam?channel=1"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://admin:S3cret@h/x",
        "rtsp://admin:S3cret@h:port/x",
        "rtsp://",
        "rtsp://admin:S3c/ret@10.0.0.1/x",
        "http://a b/",
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        camera_of(url)
    assert "S3c" not in str(caught.value)
