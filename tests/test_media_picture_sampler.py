import io
import threading
from collections.abc import Callable
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import av.error
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon import sample
from platoon.errors import InvalidInput, InvalidSettings
from platoon.media.decoder import missing_for_nvdec
from platoon.media.failures import SourceError, SourceFailure
from platoon.media.frame import Pixels
from platoon.media.input import Input
from platoon.media.picture_sampler import PictureSampler, upright
from platoon.settings import SourceSettings
from tests.clips import write_sound
from tests.traps import DAMAGED, FRAMES, SOUND, drawn

Made = Callable[[str], Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A recording by its name, made when first asked for."""

    @cache
    def make(name: str) -> Path:
        return (SOUND | DAMAGED)[name](tmp_path_factory.mktemp("recording") / name)

    return make


@cache
def everything(path: Path) -> list[tuple[int | None, float | None, Pixels]]:
    """All that decoding from the beginning to the end gives: time stamps, seconds and pictures."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        assert stream is not None
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                pictures = packet.decode()
            except av.error.FFmpegError:
                continue
            found += [(one.pts, one.time, upright(one)) for one in pictures if not one.is_corrupt]
    return found


def sampler_of(path: Path, kind: type[Input] = Input) -> PictureSampler:
    return PictureSampler(partial(kind, str(path), SourceSettings()))


def assert_same(one: Pixels | str, other: Pixels) -> None:
    assert not isinstance(one, str), one
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SOUND)
def test_each_picture_alone_is_that_of_decoding_everything(made: Made, name: str) -> None:
    expected, sampler = everything(made(name)), sampler_of(made(name))
    assert len(sampler.index) == len(expected)
    for number in np.random.default_rng(1).permutation(len(expected)):
        assert_same(dict(sampler.pictures(np.array([number])))[number], expected[number][2])
    sampler.close()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(SOUND)), wish=st.data())
def test_any_wish_gives_the_pictures_of_decoding_everything(made: Made, name: str, wish: st.DataObject) -> None:
    expected = everything(made(name))
    kind = wish.draw(st.sampled_from(["n", "fps", "at_s"]))
    if kind == "n":
        result = sample(made(name), n=(n := wish.draw(st.integers(1, 60))))
        assert len(result.pictures) + len(result.missing) == n
    elif kind == "fps":
        most = wish.draw(st.none() | st.integers(1, 20))
        result = sample(made(name), fps=wish.draw(st.floats(0.5, 70)), max_frames=most)
        assert 1 <= len(result.pictures) <= (most or len(expected))
    else:
        times = wish.draw(st.lists(st.floats(0, 3), max_size=12))
        result = sample(made(name), at_s=times)
        assert len(result.pictures) + len(result.missing) == len(times)
    numbers_of = {picture.tobytes(): number for number, (_, _, picture) in enumerate(expected)}
    numbers = [numbers_of[picture.tobytes()] for picture in result.pictures]
    if kind == "n":
        assert numbers == np.linspace(0, len(expected) - 1, len(numbers), dtype=int).tolist()
    if expected[0][1] is not None and name not in ("joined.ts", "at-zero.mkv"):
        times_s = [(expected[number][1] or 0.0) - expected[0][1] for number in numbers]
        assert result.times_s == pytest.approx(times_s)


@pytest.mark.parametrize("name", DAMAGED)
def test_of_a_damaged_recording_each_picture_comes_or_is_named(made: Made, name: str) -> None:
    expected = {stamp: picture for stamp, _, picture in everything(made(name))}
    sampler = sampler_of(made(name))
    index = sampler.index
    for number in np.random.default_rng(1).permutation(len(index)):
        had, stamp = dict(sampler.pictures(np.array([number])))[number], int(index.stamps[index.packets[number]])
        assert isinstance(had, str) == (stamp not in expected)
        if not isinstance(had, str):
            assert_same(had, expected[stamp])
    at_once = dict(sampler.pictures(np.arange(len(index))))
    assert sum(not isinstance(one, str) for one in at_once.values()) == len(expected)
    sampler.close()


@pytest.mark.parametrize("name", ["hole.ts", "noise.mp4", "noise-av1.mp4"])
def test_a_damaged_recording_never_gives_fewer_pictures_in_silence(made: Made, name: str) -> None:
    result = sample(made(name), n=45)
    assert result.missing
    assert len(result.pictures) + len(result.missing) == 45
    assert "damaged" in str(next(one for one in result.missing if one.time_s is not None))


@pytest.mark.parametrize("name", ["cut-off.mp4", "cut-off.mkv"])
def test_a_recording_that_ends_before_its_time_says_so(made: Made, name: str) -> None:
    result = sample(made(name), n=4)
    assert "cut off" in str(result.missing[-1])
    assert len(result.pictures) + len(result.missing) == 4 + 1


class _AtItsEnd(Input):
    def seek(self, stamp: int) -> bool:
        return super().seek(2**40)


class _AtItsBeginning(Input):
    def seek(self, stamp: int) -> bool:
        return super().seek(-(2**40))


class _NotAtAll(Input):
    def seek(self, stamp: int) -> bool:
        return False


class _OutOfOrder(Input):
    """Packets after a seek come as the index does not know them."""

    _astray = False

    def seek(self, stamp: int) -> bool:
        self._astray = True
        return super().seek(stamp)

    def packets(self):  # type: ignore[no-untyped-def]
        for number, packet in enumerate(super().packets()):
            if not (self._astray and number == 2):
                yield packet


@pytest.mark.parametrize("kind", [_AtItsEnd, _AtItsBeginning, _NotAtAll, _OutOfOrder])
@pytest.mark.parametrize("name", ["x264-open.mkv", "x264.mp4"])
def test_wherever_seeking_leads_pictures_are_right(made: Made, name: str, kind: type[Input]) -> None:
    expected, sampler = everything(made(name)), sampler_of(made(name), kind)
    for number in (33, 5, 44):
        assert_same(dict(sampler.pictures(np.array([number])))[number], expected[number][2])
    sampler.close()


def test_only_groups_with_wanted_pictures_are_decoded(made: Made) -> None:
    sampler = sampler_of(made("x264.mp4"))
    assert [number for number, _ in sampler.pictures(np.array([32, 12, 13]))] == [12, 13, 32]
    assert sampler.decoded <= 2 * 10
    sampler.close()


def test_a_keyframe_costs_one_decoded_picture(made: Made) -> None:
    sampler = sampler_of(made("x264.mp4"))
    nearest = sampler.index.nearest_keyframes(np.array([0, 4, 6, 32, 44]))
    assert nearest.tolist() == [0, 0, 10, 30, 40]
    assert len(dict(sampler.pictures(nearest))) == 4
    assert sampler.decoded == 4
    sampler.close()


def test_the_nearest_keyframe_takes_the_place_of_each_picture(made: Made) -> None:
    result = sample(made("x264.mp4"), at_s=[0.4, 0.1], exact=False)
    assert result.times_s == pytest.approx([10 / 30, 0.0])
    expected = everything(made("x264.mp4"))
    for picture, time_s in zip(result.pictures, result.times_s, strict=True):
        assert_same(picture, expected[round(time_s * 30)][2])


def test_an_index_is_small(made: Made) -> None:
    sampler = sampler_of(made("x264.mp4"))
    index = sampler.index
    arrays = (index.times_s, index.packets, index.numbers, index.stamps, index.sizes, index.keyframes, index.key_stamps)
    assert sum(array.nbytes for array in arrays) <= 32 * FRAMES
    sampler.close()


def test_the_better_of_two_videos_is_taken(made: Made) -> None:
    assert sample(made("two-videos.mkv"), n=1).pictures[0].shape == drawn(0).shape


def test_pictures_stand_upright(made: Made) -> None:
    upside, turned = sample(made("x264.mp4"), n=3), sample(made("rotated.mp4"), n=3)
    for one, other in zip(upside.pictures, turned.pictures, strict=True):
        np.testing.assert_array_equal(np.rot90(one), other)


def test_an_edit_list_hides_pictures_and_time_begins_behind_it(made: Made) -> None:
    result = sample(made("edited.mp4"), n=100)
    assert len(result.pictures) == FRAMES - 5
    assert result.times_s[0] == 0
    assert (
        np.abs(result.pictures[0].astype(int) - drawn(5)).mean()
        < np.abs(result.pictures[0].astype(int) - drawn(4)).mean()
    )


def test_where_there_are_fewer_than_wanted_each_comes_once_and_the_rest_is_named(made: Made) -> None:
    result = sample(made("x264.mp4"), n=FRAMES + 2)
    assert len(result.pictures) == FRAMES
    assert [str(one) for one in result.missing] == ["it has 45 pictures, and 47 were wanted"] * 2


def test_a_rate_gives_what_is_shown_at_its_multiples(made: Made) -> None:
    assert sample(made("x264.mp4"), fps=10).times_s == pytest.approx([k / 10 for k in range(15)])
    assert sample(made("x264.mp4"), fps=10, max_frames=3).times_s == pytest.approx([0, 22 / 30, 44 / 30])
    assert len(sample(made("x264.mp4"), fps=1000).pictures) == FRAMES


def test_times_give_what_is_shown_then_in_the_order_of_the_wishes(made: Made) -> None:
    result = sample(made("x264.mp4"), at_s=[1.0, 0.034, 0.066, 1.0, 1.5, 9.0])
    assert result.times_s == pytest.approx([1.0, 1 / 30, 2 / 30, 1.0, 44 / 30])
    assert [str(one) for one in result.missing] == ["9.000 s: it ends after 1.500 s"]


@pytest.mark.parametrize("times", [[0.0], [0.0, 1.0]])
def test_times_may_be_an_array(made: Made, times: list[float]) -> None:
    assert sample(made("x264.mp4"), at_s=np.array(times)).times_s == times


def test_times_of_a_result_ask_for_the_same_pictures(made: Made) -> None:
    first = sample(made("intervals.mkv"), n=9)
    again = sample(made("intervals.mkv"), at_s=first.times_s)
    assert again.times_s == first.times_s


class _Pipe(io.RawIOBase):
    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, room) -> int:  # type: ignore[no-untyped-def]
        return self._data.readinto(room)


def _read_on(data: bytes) -> io.BytesIO:
    file = io.BytesIO(data)
    file.seek(100)
    return file


@pytest.mark.parametrize(
    "given_as",
    [
        str,
        Path.as_uri,
        Path.read_bytes,
        lambda path: bytearray(path.read_bytes()),
        lambda path: _read_on(path.read_bytes()),
        lambda path: _Pipe(path.read_bytes()),
    ],
    ids=["path", "url", "bytes", "bytearray", "file", "pipe"],
)
def test_a_recording_may_come_in_any_form(made: Made, given_as: Callable[[Path], str | bytes]) -> None:
    expected = sample(made("x264-open.ts"), n=3)
    result = sample(given_as(made("x264-open.ts")), n=3)
    assert result.times_s == expected.times_s
    for one, other in zip(result.pictures, expected.pictures, strict=True):
        np.testing.assert_array_equal(one, other)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.mark.parametrize("name", ["x264-open.mkv", "x264.mp4"])
def test_a_recording_may_come_from_a_server_that_cannot_seek(made: Made, name: str) -> None:
    handler = partial(_Quiet, directory=str(made(name).parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            result = sample(f"http://127.0.0.1:{server.server_address[1]}/{name}", at_s=[1.2, 0.2])
        finally:
            server.shutdown()
            thread.join()
    expected = everything(made(name))
    for picture, number in zip(result.pictures, (36, 6), strict=True):
        assert_same(picture, expected[number][2])


@pytest.mark.parametrize(
    ("source", "failure"),
    [
        (b"", SourceFailure.CORRUPT),
        (io.BytesIO(), SourceFailure.CORRUPT),
        (b"camera 1\n" * 99, SourceFailure.UNSUPPORTED),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n" * 9, SourceFailure.UNSUPPORTED),
        ("no/such/file.mp4", SourceFailure.NO_FILE),
    ],
)
def test_what_is_no_recording_is_named(source: bytes | str, failure: SourceFailure) -> None:
    with pytest.raises(SourceError) as caught:
        sample(source, n=2)
    assert caught.value.failure is failure


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no video in it"):
        sample(write_sound(tmp_path / "sound.mkv"), n=2)


def test_a_recording_that_ends_behind_its_header_has_no_picture(made: Made) -> None:
    data = made("x264-open.mkv").read_bytes()
    with pytest.raises(SourceError):
        sample(data[: data.index(b"\x1f\x43\xb6\x75") + 12], n=2)


def test_pictures_over_the_limit_are_refused(made: Made) -> None:
    with pytest.raises(SourceError, match="exceed the limit"):
        PictureSampler(partial(Input, str(made("x264.mp4")), SourceSettings(max_pixels=64 * 48 - 1)))


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"n": 2, "fps": 1.0},
        {"n": 0},
        {"fps": 0.0},
        {"n": 2, "max_frames": 2},
        {"fps": 1.0, "max_frames": 0},
        {"at_s": [-0.1]},
        {"at_s": [float("nan")]},
    ],
)
def test_wishes_that_cannot_be_meant_are_refused(made: Made, wishes: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        sample(made("x264.mp4"), **wishes)  # type: ignore[arg-type]


def test_a_file_of_text_is_refused(made: Made) -> None:
    with pytest.raises(InvalidInput, match="StringIO"):
        sample(io.StringIO("text"), n=1)  # type: ignore[arg-type]


def test_a_device_that_is_not_there_says_what_is_missing(made: Made) -> None:
    with pytest.raises(InvalidSettings, match="must be cpu, cuda"):
        sample(made("x264.mp4"), n=1, device="tpu")
    missing = missing_for_nvdec(0)
    if missing is not None:
        with pytest.raises(InvalidSettings) as caught:
            sample(made("x264.mp4"), n=1, device="cuda")
        assert missing in str(caught.value)
