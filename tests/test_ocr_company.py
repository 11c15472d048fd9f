"""Strangers share batches and never notice: what is read alone is read in any company, to the last bit."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.engine.tuning import Tuning
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.ocr import engine
from platoon.ocr.engine import TextEngine
from platoon.ocr.reading import Reading, ReadOptions, read
from platoon.settings import EngineSettings


class LargestBatch(Tuning):
    """Measures nothing: the largest batch, whether or not it pays."""

    def choose(self, question: str, options: object, measure: object) -> int:  # type: ignore[override]
        return max(options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextEngine]:
    """An engine in which as many travel together as come."""
    settings = EngineSettings(runtime="openvino", max_batch=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "Tuning", LargestBatch)
        with TextEngine(settings, tmp_path_factory.mktemp("engine"), Metrics(), size=(224, 416)) as crowded:
            yield crowded


MODES = (
    ReadOptions(),
    ReadOptions(find=False),
    ReadOptions(upside_down=True),
    ReadOptions(plates=True),
    ReadOptions(plates=True, find=False),
)


@cache
def picture(text: str, scale: float, margin: int) -> Pixels:
    """A text on a plate of its own, with a slope behind it, so that no two backgrounds are alike."""
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 2)
    drawn = np.empty((height + baseline + 2 * margin, width + 2 * margin, 3), np.uint8)
    drawn[:] = np.linspace(150 + margin, 245, drawn.shape[1])[None, :, None]
    cv2.putText(drawn, text, (margin, margin + height), cv2.FONT_HERSHEY_SIMPLEX, scale, (20, 20, 20), 2)
    return drawn


pictures = st.builds(
    picture,
    st.sampled_from(["KA 7351", "B2468XY", "No 4711", "Total 99.50", "A line that is longer than others are", "x"]),
    st.sampled_from([0.7, 1.0, 1.4]),
    st.sampled_from([4, 9, 20]),
)
calls = st.tuples(st.lists(pictures, min_size=1, max_size=3), st.sampled_from(MODES), st.sampled_from(Priority))


def said(readings: list[Reading]) -> list[Any]:
    """All that does not depend on the clock."""
    return [
        (
            [quad.tobytes() for quad in reading.found],
            [
                (line.quad.tobytes(), line.turn, line.text, line.confidence, line.breaks, line.characters)
                for line in reading.lines
            ],
        )
        for reading in readings
    ]


@settings(deadline=None, max_examples=8)
@given(mix=st.lists(calls, min_size=2, max_size=8))
def test_whatever_travels_along_changes_no_reading(
    crowded: TextEngine, mix: list[tuple[list[Pixels], ReadOptions, Priority]]
) -> None:
    def ask(one: tuple[list[Pixels], ReadOptions, Priority]) -> list[Any]:
        some, how, priority = one
        return said(read(crowded, some, how, RequestContext(priority, time.monotonic() + 120)))

    alone = [[*ask(([one], how, priority))] for some, how, priority in mix for one in some]
    with ThreadPoolExecutor(len(mix)) as pool:
        together = list(pool.map(ask, mix))
    assert [[one] for some in together for one in some] == alone


def test_company_was_kept(crowded: TextEngine) -> None:
    """The test above compares something: the same pictures at once do share batches."""
    many = [picture("KA 7351", 1.0, 9)] * 12
    readings = read(crowded, many, ReadOptions(plates=True), RequestContext(Priority.BULK, time.monotonic() + 120))
    assert max(reading.execution.items for reading in readings) > 1
