"""What a decoder does for a camera of which fewer pictures are wanted than it sends, counted over whole streams."""

import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest

from platoon.media.attention import Attention, Mode, Taker
from platoon.media.failures import SourceError
from platoon.media.input import Input
from platoon.media.sampling import Sampler
from platoon.media.slot import NewestSlot
from platoon.settings import SourceSettings
from tests.clips import write_clip

FPS, SECONDS = 30, 8
B_FRAMES = {"x264-params": "b-adapt=0:b-pyramid=none:scenecut=0"}
PYRAMID = {"x264-params": "b-adapt=0:b-pyramid=normal:scenecut=0"}
STREAMS = {
    "no B-frames": ("libx264", 0, {}, 1.0),
    "B-frames": ("libx264", 2, B_FRAMES, 0.4),
    "pyramid": ("libx264", 3, PYRAMID, 0.6),
    "HEVC": ("libx265", 3, {"x265-params": "b-adapt=0:b-pyramid=1:scenecut=0:log-level=none"}, 0.6),
}
"""Codec, B-frames between two others, options, and which share of the pictures is decoded at most."""


class LiveFile(Input):
    """A file as if it came from a camera, as fast as it is taken."""

    @property
    def live(self) -> bool:
        return True


@pytest.fixture(scope="module", params=STREAMS)
def stream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    codec, b_frames, options, share = STREAMS[request.param]
    path = tmp_path_factory.mktemp("streams") / "stream.ts"
    write_clip(path, frames=FPS * SECONDS, fps=FPS, keyframe_every=60, codec=codec, b_frames=b_frames, options=options)
    return path, share


def stamps(path: Path, fps: float | None, attention: Mode) -> list[float]:
    taker = Taker(
        slot=NewestSlot(ready=threading.Condition()), rate=Sampler(fps=fps).rate, attention=Attention(attention)
    )
    found: list[float] = []
    with closing(LiveFile(str(path), SourceSettings(max_lag_s=60), taker=taker)) as source, suppress(SourceError):
        for _, stamp in source.pictures():  # until it ends, which is an error of a camera
            assert stamp is not None
            found.append(stamp)
    return found


def test_at_a_low_rate_only_what_others_refer_to_is_decoded_and_the_rate_is_kept(stream: tuple[Path, float]) -> None:
    path, share = stream
    decoded = stamps(path, 5, "watch")
    assert len(decoded) <= share * FPS * SECONDS
    sampler = Sampler(fps=5)
    assert sum(sampler.wants(stamp) for stamp in decoded) == pytest.approx(5 * SECONDS, abs=1)


@pytest.mark.parametrize(("fps", "attention"), [(20, "watch"), (None, "watch"), (5, "full")])
def test_where_more_are_wanted_all_are_decoded(stream: tuple[Path, float], fps: float | None, attention: Mode) -> None:
    path, _ = stream
    assert len(stamps(path, fps, attention)) >= FPS * SECONDS - 6
