"""The way of a clip from the decoder's planes to its event, in arrays of PyTorch and without a step on the host."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from platoon.media.decode import planar_frame
from platoon.media.frame import PixelWork
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.media.torch_pixels import TorchPixels
from platoon.metrics import Metrics, PixelMeter, Purpose
from platoon.plates import open_engine
from platoon.plates.analysis import Analysis
from platoon.plates.events import PlateEvent, PlatePipeline
from platoon.plates.grammar import SiteGrammar
from platoon.settings import EngineSettings, Settings

DATA = Path(os.environ.get("PLATOON_DATA") or Path(__file__).parents[3] / "shared" / "data")
EVERY = 4
"""A look at every so many frames of 30 a second is enough to know the vehicle."""


class Host:
    """Counts what goes from tensors to the host, however it gets there."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("cpu", "numpy", "tolist", "item", "__array__"):
            patch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))
        patch.setattr(np, "from_dlpack", self._counted(np.from_dlpack))

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            return original(*arguments, **options)

        return counting


def watched(metrics: Metrics, pixels: PixelWork, settings: Settings) -> tuple[PlatePipeline, list[PlateEvent]]:
    """The clip, analysed up to its last frame."""
    watch = PlatePipeline("road", SiteGrammar(settings.plates).of("road"), hold_finals=True)
    events: list[PlateEvent] = []
    source = Input(str(DATA / "video" / "roadside.mp4"), settings.source)
    with open_engine(settings, metrics) as engine:
        analysis = Analysis(engine, settings, metrics)
        for number, (picture, stamp) in enumerate(source.pictures()):
            if number % EVERY == 0:
                frame = planar_frame(picture, camera="road", media_time=stamp or 0.0, captured_at=0.0, pixels=pixels)
                events += analysis.run([(frame, watch)])
        analysis.close()
    source.close()
    return watch, events


def test_a_clip_gives_its_event_without_a_host_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(cache=tmp_path, engine=EngineSettings(runtime="onnxruntime", precision="float32"))
    host, metrics = Host(monkeypatch), Metrics(PixelMeter())
    watch, events = watched(metrics, TorchPixels(metrics.pixels, "cpu"), settings)
    counts = metrics.pixels.counts()
    assert host.count == 0
    assert (counts[Purpose.HOST], counts[Purpose.PICTURE]) == ((0, 0), (0, 0))
    assert counts[Purpose.DETECT][0] > 30
    assert counts[Purpose.REGION][0] > 10
    events += watch.finish()
    assert [event.plate.text for event in events] == ["LS15EBC"]
    assert isinstance(events[0].crop, np.ndarray)
    assert metrics.pixels.counts()[Purpose.HOST] == (1, events[0].crop.nbytes), "the crop of the event, and no more"

    plain = Metrics(PixelMeter())
    watch, events = watched(plain, OpenCvPixels(plain.pixels), settings)
    assert [event.plate.text for event in events + watch.finish()] == ["LS15EBC"]
    assert [counts[purpose] for purpose in (Purpose.DETECT, Purpose.REGION)] == [
        plain.pixels.counts()[purpose] for purpose in (Purpose.DETECT, Purpose.REGION)
    ]
