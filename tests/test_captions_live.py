"""Cameras that are captioned: from packets to stored captions, with a server that a test commands."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from platoon.captions.cutter import Cause
from platoon.captions.live import CameraTap, CaptionEvent, LiveCaptions
from platoon.captions.scheduler import State
from platoon.errors import InvalidSettings
from platoon.media.attention import Attention, Reason, Taker
from platoon.media.input import Input
from platoon.media.source import Pace
from platoon.metrics import Metrics
from platoon.settings import CaptionSettings, SourceSettings
from tests.clips import write_clip
from tests.clock import Clock
from tests.fake_vlm import FakeVlm, Reply, fake_vlm, said
from tests.rtsp_server import Fault, RtspServer
from tests.source_watch import Watch
from tests.test_captions_recordings import probed, questions, telling

PATIENCE_S = 20


class Site:
    """What a site hears of its captions."""

    def __init__(self, fake: FakeVlm, **settings: Any) -> None:
        self.metrics = Metrics()
        self.events: list[CaptionEvent] = []
        self.gaps: list[Any] = []
        self._heard = threading.Condition()
        how = CaptionSettings(url=fake.url, every=1, payload="jpegs", **settings)
        self.live = LiveCaptions(
            how, SourceSettings(), self.metrics, emit=lambda event: self._hear(self.events, event), on_gap=self._gap
        )

    def _gap(self, gap: Any) -> None:
        self._hear(self.gaps, gap)

    def _hear(self, heard: list[Any], what: Any) -> None:
        with self._heard:
            heard.append(what)
            self._heard.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._heard:
            assert self._heard.wait_for(condition, PATIENCE_S), (self.events, self.gaps)

    def counted(self, camera: str) -> Counter[str]:
        family = next(iter(self.metrics.caption_segments.collect()))
        return Counter(
            {
                sample.labels["state"]: int(sample.value)
                for sample in family.samples
                if sample.name.endswith("_total") and sample.labels["camera"] == camera
            }
        )


@contextmanager
def captioning(fake: FakeVlm, **settings: Any) -> Iterator[Site]:
    site = Site(fake, **settings)
    try:
        yield site
    finally:
        fake.closing.set()
        site.live.close()


def play(tap: CameraTap | None, clip: Path, *, asleep: Callable[[int], bool] = lambda _: False) -> None:
    """All packets of a clip, as a camera brings them, at once."""
    assert tap is not None
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        tap.opened(stream)
        for number, packet in enumerate(container.demux(stream)):
            tap.packet(packet, asleep=asleep(number))
        tap.closed()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds and a half, of which the picture of second n is 8 n mod 16."""
    return write_clip(tmp_path / "clip.mp4", frames=28, fps=8, keyframe_every=20)


def test_a_segment_becomes_an_event_with_its_times_and_a_picture(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", frames=8, fps=8, width=1536, height=64)
    with fake_vlm(probed(telling)) as fake, captioning(fake, fps=4, camera_prompts={"gate": "Who is there?"}) as site:
        play(site.live.tap("gate"), clip)
        site.until(lambda: bool(site.events))
        (event,) = site.events
        found = event.to_json(crop_key="key")
        assert (found["kind"], found["state"], found["camera"]) == ("caption", "final", "gate")
        assert found["text"] == "0 2 4 6"
        assert (found["media_start"], found["media_end"], found["cause"]) == (0, 1, Cause.END)
        assert (found["frames"], found["missing"], found["model"]) == (4, [], "tiny-reader")
        assert event.crop.shape == (32, 768, 3)
        assert fake.prompts() == ["Who is there?"]
        assert site.counted("gate") == {"captioned": 1}


def test_times_are_the_streams_own_by_the_packet_that_came_soonest(clip: Path) -> None:
    """Packets come at 8 a second, the sixth half a second late."""
    cuts: list[Any] = []
    arrivals = (1000 + number / 8 + 0.05 + (0.5 if number == 5 else 0) for number in itertools.count())
    tap = CameraTap(1.0, on_cut=lambda *cut: cuts.append(cut), on_error=cuts.append, clock=lambda: next(arrivals))
    play(tap, clip)
    assert [start for _, start, _ in cuts] == pytest.approx([1000.05, 1001.05, 1002.05, 1003.05], abs=0.01)
    assert [cut.end_s - cut.start_s for cut, _, _ in cuts] == pytest.approx([1, 1, 1, 0.5])


def test_segments_of_a_camera_that_slept_are_skipped_and_given_as_gaps(clip: Path) -> None:
    with fake_vlm(probed(telling)) as fake, captioning(fake) as site:
        play(site.live.tap("gate"), clip, asleep=lambda number: number != 20)
        site.until(lambda: len(site.events) + len(site.gaps) == 4)
        assert [event.to_json(crop_key=None)["media_start"] for event in site.events] == [2]
        assert [(gap["media_start"], gap["state"]) for gap in site.gaps] == [(n, State.SKIPPED) for n in (0, 1, 3)]


def test_a_model_that_is_too_slow_gets_the_newest_segment_next(clip: Path) -> None:
    arrived, leave = threading.Event(), threading.Event()

    def slow(prompt: str, request: dict[str, Any]) -> Reply:
        arrived.set()
        leave.wait(PATIENCE_S)
        return telling(prompt, request)

    with fake_vlm(probed(slow)) as fake, captioning(fake) as site:
        tap = site.live.tap("gate")
        play(tap, write_clip(clip.with_name("first.mp4"), frames=8, fps=8))
        assert arrived.wait(PATIENCE_S)
        play(tap, clip)
        site.until(lambda: len(site.gaps) == 3)
        leave.set()
        site.until(lambda: len(site.events) == 2)
        assert [gap["state"] for gap in site.gaps] == [State.SUPERSEDED] * 3
        assert [gap["media_start"] for gap in site.gaps] == [0, 1, 2]
        assert site.events[1].to_json(crop_key=None)["media_start"] == 3
        assert site.counted("gate") == {"captioned": 2, "superseded": 3}


@pytest.mark.parametrize(
    ("trouble", "state"),
    [((400, {"error": "no"}), State.FAILED), ((500, {}), State.FAILED), ((0, None), State.FAILED)],
    ids=["400", "500", "cut"],
)
def test_a_segment_that_fails_costs_no_other(
    clip: Path, trouble: Reply, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.engine.chat_server.ATTEMPTS", 1)

    def first_fails(prompt: str, request: dict[str, Any]) -> Reply:
        return trouble if len(fake.asked) == 1 else telling(prompt, request)

    with fake_vlm(probed(first_fails)) as fake, captioning(fake) as site:
        for number in range(2):
            play(site.live.tap("gate"), write_clip(clip.with_name("one.mp4"), frames=8, fps=8))
            site.until(lambda number=number: len(site.events) + len(site.gaps) == number + 1)  # type: ignore[misc]
            assert bool(site.live.warnings()) is (number == 0)
        assert [gap["state"] for gap in site.gaps] == [state]
        assert site.counted("gate") == {str(state): 1, "captioned": 1}


def test_silence_ends_with_the_deadline(clip: Path) -> None:
    def silent(*_: Any) -> Reply:
        fake.closing.wait()
        return said("too late")

    with fake_vlm(probed(silent)) as fake, captioning(fake, timeout_s=0.3) as site:
        play(site.live.tap("gate"), clip)
        site.until(lambda: len(site.gaps) == 4)
        assert State.EXPIRED in {gap["state"] for gap in site.gaps}
        assert sum(site.counted("gate").values()) == 4


def test_a_busy_server_is_asked_again_about_the_same_segment(clip: Path) -> None:
    replies: Iterator[Reply] = iter([(429, {})])
    with fake_vlm(probed(lambda *what: next(replies, None) or telling(*what))) as fake, captioning(fake) as site:
        fake.retry_after = "0.1"
        play(site.live.tap("gate"), write_clip(clip.with_name("one.mp4"), frames=8, fps=8))
        site.until(lambda: bool(site.events))
        assert len(questions(fake)) == 2
        assert not site.gaps


def test_a_camera_that_is_removed_leaves_nothing_behind(clip: Path) -> None:
    arrived = threading.Event()

    def hanging(*_: Any) -> Reply:
        arrived.set()
        fake.closing.wait()
        return said("too late")

    with fake_vlm(probed(hanging)) as fake, captioning(fake) as site:
        play(site.live.tap("gate"), clip)
        assert arrived.wait(PATIENCE_S)
        site.live.remove("gate")
        site.until(lambda: len(site.gaps) == 4)
        assert site.counted("gate")["failed"] >= 1
        site.metrics.forget("gate")
        assert not site.counted("gate")
    assert not site.events


def test_a_stream_that_cannot_be_cut_is_named_and_goes_on(tmp_path: Path) -> None:
    with fake_vlm(probed(telling)) as fake, captioning(fake) as site:
        play(site.live.tap("gate"), write_clip(tmp_path / "clip.mkv", frames=20, fps=8, codec="libvpx"))
        (warning,) = site.live.warnings()
        assert "gate" in warning
        assert "vp8" in warning


def test_only_cameras_that_are_named_are_captioned() -> None:
    with fake_vlm(probed(telling)) as fake, captioning(fake, cameras=("gate",)) as site:
        assert site.live.tap("gate") is not None
        assert site.live.tap("yard") is None


def test_without_packets_there_are_no_captions() -> None:
    with pytest.raises(InvalidSettings, match="gstreamer"):
        LiveCaptions(
            CaptionSettings(url="http://127.0.0.1:1"),
            SourceSettings(decoder="gstreamer"),
            Metrics(),
            emit=lambda _: None,
            on_gap=lambda _: None,
        )


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[tuple[RtspServer, Path]]:
    """An RTSP camera that shows a clip of two seconds again and again, and a clip of another size."""
    clip = write_clip(tmp_path / "clip.mp4", frames=32, fps=16, keyframe_every=8)
    large = write_clip(tmp_path / "large.mp4", frames=32, fps=16, keyframe_every=8, width=320)
    with RtspServer({"/gate": clip}) as server:
        yield server, large


def causes(site: Site) -> list[str]:
    return [event.facts["cause"] for event in site.events]


def test_segments_of_a_camera_end_early_where_its_stream_breaks_jumps_or_changes(
    camera: tuple[RtspServer, Path],
) -> None:
    server, large = camera
    with (
        fake_vlm(probed(telling)) as fake,
        captioning(fake, fps=16, skip_still=False) as site,
        Watch(
            server.url("/gate"),
            settings=SourceSettings(backoff_min_s=0.1, backoff_max_s=0.2),
            keep_all=False,
            pace=Pace.REAL_TIME,
            tap=site.live.tap("gate"),
        ),
    ):
        site.until(lambda: len(site.events) >= 2)
        server.fault("/gate", Fault.DROP)
        site.until(lambda: (Cause.END, Cause.FULL) in itertools.pairwise(causes(site)))
        server.restamp("/gate", lambda stamp: stamp + 3600 * 90_000)
        site.until(lambda: (Cause.JUMP, Cause.FULL) in itertools.pairwise(causes(site)))
        server.switch("/gate", large)
        site.until(lambda: Cause.SIZE in causes(site))
        assert not site.gaps
        for event in site.events:
            seen = [int(number) for number in event.text.split()]
            steps = {(after - before) % 16 for before, after in itertools.pairwise(seen)}
            assert steps <= {1} or event.facts["cause"] != Cause.FULL
            length = event.facts["media_end"] - event.facts["media_start"]
            assert length <= 1.001
            assert abs(event.time - time.time()) < PATIENCE_S


def test_a_model_that_comes_back_is_asked_about_the_newest_segment(camera: tuple[RtspServer, Path]) -> None:
    """Each answer comes once two more segments were superseded; the decoder goes on all the while."""
    server, _ = camera
    arrived, leave = threading.Semaphore(0), threading.Semaphore(0)

    def slow(prompt: str, request: dict[str, Any]) -> Reply:
        arrived.release()
        leave.acquire(timeout=PATIENCE_S)
        return telling(prompt, request)

    newest = []
    with fake_vlm(probed(slow)) as fake, captioning(fake, skip_still=False) as site:
        with Watch(server.url("/gate"), keep_all=False, pace=Pace.REAL_TIME, tap=site.live.tap("gate")):
            for number in range(3):
                assert arrived.acquire(timeout=PATIENCE_S)
                wanted = len(site.gaps) + 2
                site.until(lambda wanted=wanted: len(site.gaps) >= wanted)  # type: ignore[misc]
                newest.append(site.gaps[-1]["media_start"])
                leave.release()
                site.until(lambda number=number: len(site.events) > number)  # type: ignore[misc]
        leave.release(8)
        starts = [event.facts["media_start"] for event in site.events]
        assert all(start > before for start, before in zip(starts[1:], newest, strict=False))
        assert {gap["state"] for gap in site.gaps} == {State.SUPERSEDED}


class Seen:
    """A tap that only notes."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def opened(self, stream: av.VideoStream) -> None:
        self.said.append(stream.codec_context.name)

    def packet(self, packet: av.Packet, *, asleep: bool) -> None:
        if packet.size:
            self.said.append(asleep)

    def closed(self) -> None:
        self.said.append("closed")


def test_a_tap_sees_every_packet_and_whether_its_camera_sleeps(tmp_path: Path, clock: Clock) -> None:
    attention = Attention("auto", awake_s=1, now=clock)
    clock.ahead += 2
    assert attention.rest()
    tap = Seen()
    clip = write_clip(tmp_path / "clip.mp4", frames=6, fps=8)
    source = Input(str(clip), SourceSettings(), taker=Taker(attention=attention, tap=tap))
    for number, _ in enumerate(source.pictures()):
        if number == 2:
            attention.wake(Reason.CALL)
    source.close()
    assert tap.said[0] == "h264"
    assert tap.said[1:-1] == [True] * 3 + [False] * 3
    assert tap.said[-1] == "closed"
