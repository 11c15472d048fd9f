"""A site whose cameras sleep, from the packets of a stream to events."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest

from platoon.media.decoder import Decoder
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.source import Source, SourceState
from platoon.settings import AnalysisSettings, EngineSettings, PlateSettings, Settings, StoreSettings
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from tests.clock import Clock
from tests.running import wait_until
from tests.stepped_stream import SteppedBacklog, SteppedInput
from tests.traffic import FPS, GATE, SIZE, pictures_of

RATE = FPS // 2
"""Pictures a second."""
GROUP = 4 * RATE
"""A keyframe every four seconds."""
FROM, CAR = 10, round(1.2 * RATE)
"""After which picture of a group a car is in sight, and for how many: none is a keyframe."""
PASSES = [2, 3]
"""Groups of pictures by number: one in which a car comes, and one of what follows. Before that, the road alone."""
HOUR = 3600 // 4


def write_gate(path: Path, *, parks: bool) -> Path:
    """Two groups of a still road, one in which a car comes, and one of what is there then: the car, if it `parks`."""
    pictures = list(pictures_of(GATE[:1]))[::2]
    road, passes = pictures[0], pictures[-CAR:]
    shown = [*[road] * (2 * GROUP + FROM), *passes]
    shown += [passes[-1] if parks else road] * (4 * GROUP - len(shown))
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": "20", "x264-params": f"scenecut=0:keyint={GROUP}:min-keyint={GROUP}"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.gop_size, stream.max_b_frames = GROUP, 0
        stream.codec_context.time_base = Fraction(1, RATE)
        for number, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.pict_type = number, 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def play(
    folder: Path, groups: Sequence[int], monkeypatch: pytest.MonkeyPatch, *, parks: bool = False
) -> tuple[list[Mapping[str, Any]], SharedSite]:
    """All events of a camera that plays these groups, and its site, which is over."""
    clock, events = Clock(), list[Mapping[str, Any]]()
    opened = partial(SteppedInput, groups=groups, clock=clock)
    monkeypatch.setattr("platoon.media.input.Backlog", SteppedBacklog)
    monkeypatch.setattr("platoon.streams.pipeline.Source", partial(Source, now=clock))
    monkeypatch.setattr(
        "platoon.streams.pipeline.open_decoder", lambda _settings, meter, **_: Decoder(OpenCvPixels(meter), opened)
    )
    width, height = SIZE
    settings = Settings(
        plates=PlateSettings(input_width=width, input_height=height),
        engine=EngineSettings(runtime="openvino", max_batch=1),
        store=StoreSettings(path=folder / "store"),
        analysis=AnalysisSettings(fps=RATE),
        cache=folder,
    )
    site = SharedSite(settings, on_event=events.append)
    site.start()
    try:
        wait_until(lambda: not site.not_ready(), "the models")
        site.change([CameraSpec("gate", "Gate", str(write_gate(folder / "gate.mkv", parks=parks)), 0)])
        wait_until(lambda: site.cameras()[0].source.state is SourceState.ENDED, "the end", patience_s=300)
    finally:
        site.stop()
    return events, site


def count(site: SharedSite, name: str, **labels: str) -> float:
    return site.metrics.registry.get_sample_value(name, {"camera": "gate", **labels}) or 0.0


def test_a_car_for_a_second_in_an_hour_between_two_keyframes_is_one_right_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = 5
    groups = [0, *islice(iter(lambda: 1, 0), HOUR - last - 3), *PASSES, *[1] * last]
    events, site = play(tmp_path, groups, monkeypatch)
    finals = [event for event in events if event["state"] == "final"]
    assert [event["text"] for event in finals] == [GATE[0].replace(" ", "")]
    assert {event["id"] for event in events} == {finals[0]["id"]}
    asleep = count(site, "platoon_frames_dropped_total", cause="asleep")
    assert asleep > 0.95 * HOUR * GROUP, "it slept all the time"


def test_a_car_that_parks_is_one_event_and_lets_its_camera_sleep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parked = 60
    groups = [0, *[1] * 8, *PASSES, *[3] * parked]
    events, site = play(tmp_path, groups, monkeypatch, parks=True)
    assert [event["text"] for event in events if event["state"] == "final"] == [GATE[0].replace(" ", "")]
    assert len({event["id"] for event in events}) == 1
    assert count(site, "platoon_frames_dropped_total", cause="asleep") > 0.7 * parked * GROUP
