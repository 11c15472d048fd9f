"""Plates of still pictures, by either detector of Platoon's own, on a drawn street."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

import platoon.plates.recorded as module
from platoon.engine.batcher import Priority, Reply
from platoon.engine.request_context import RequestContext
from platoon.media.frame import Pixels
from platoon.media.synthetic.demo import demo_scenes
from platoon.media.synthetic.plates import STYLES, draw_plate
from platoon.media.synthetic.road import Road
from platoon.metrics import Metrics
from platoon.ocr.recognition import Candidate, TextLine, line_of
from platoon.plates import open_engine
from platoon.plates.detector import PlateBox
from platoon.plates.engine import PlateEngine
from platoon.plates.grammar import Grammar
from platoon.plates.recorded import HeldBack, read_picture
from platoon.settings import PlateSettings, Settings


@pytest.fixture(scope="module")
def street() -> tuple[Pixels, str]:
    """A frame of a street in which a plate is large, and what it says."""
    road = Road(demo_scenes()[0])
    frames = [road.frame(index) for index in range(0, road.scene.frames, 5)]
    size, picture, vehicle = max(
        ((float(np.ptp(quad[:, 0])), picture, vehicle) for picture, quads in frames for vehicle, quad in quads.items()),
        key=lambda seen: seen[0],
    )
    assert size > 60
    return picture, road.scene.vehicles[vehicle].plate.replace(" ", "").replace("/", "")


@pytest.fixture(scope="module", params=["text", "plates"])
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[PlateEngine, PlateSettings]]:
    settings = Settings(cache=tmp_path_factory.mktemp("cache"), plates=PlateSettings(detector=request.param))
    with open_engine(settings, Metrics()) as engine:
        yield engine, settings.plates


def test_the_plate_of_a_picture_is_found_and_read(
    opened: tuple[PlateEngine, PlateSettings], street: tuple[Pixels, str]
) -> None:
    picture, text = street
    with RequestContext(Priority.BULK) as call:
        plates = read_picture(opened[0], picture, opened[1], Grammar(), call)
    assert plates[0].text == text


def test_an_empty_picture_has_no_plates(opened: tuple[PlateEngine, PlateSettings]) -> None:
    with RequestContext(Priority.BULK) as call:
        assert read_picture(opened[0], np.full((300, 400, 3), 90, np.uint8), opened[1], Grammar(), call) == []


@pytest.mark.parametrize("opened", ["plates"], indirect=True)
def test_a_plate_that_is_not_read_surely_is_read_as_lines_too(
    opened: tuple[PlateEngine, PlateSettings], street: tuple[Pixels, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, plates = opened
    picture, text = street
    doubts: list[str] = []
    surely = engine.read_plates

    def doubtfully(crops: Sequence[Pixels], **how: Any) -> list[Reply[TextLine]]:
        replies = []
        for reply in surely(crops, **how):
            *others, last = reply.result(60).characters
            doubt = line_of([*others, (Candidate("Z", 0.4), *last)])
            doubts.append(doubt.text)
            replies.append(Reply[TextLine]())
            replies[-1].set_result(doubt)
        return replies

    monkeypatch.setattr(engine, "read_plates", doubtfully)
    with RequestContext(Priority.BULK) as call:
        found = read_picture(engine, picture, plates, Grammar(), call)
    assert doubts
    assert text not in doubts
    assert found[0].text == text


@pytest.mark.parametrize("opened", ["plates"], indirect=True)
@pytest.mark.parametrize("size", [(1, 1), (94, 24), (96, 32), (3, 200), (640, 8)])
def test_a_picture_of_any_size_is_looked_at(opened: tuple[PlateEngine, PlateSettings], size: tuple[int, int]) -> None:
    width, height = size
    with RequestContext(Priority.BULK) as call:
        assert read_picture(opened[0], np.full((height, width, 3), 90, np.uint8), opened[1], Grammar(), call) == []


@pytest.mark.parametrize("opened", ["plates"], indirect=True)
@pytest.mark.parametrize(
    ("width", "share"), [(94, 1.0), (130, 1.0), (640, 0.95), (1280, 0.8), (1280, 0.65), (1280, 0.5)]
)
def test_a_plate_that_fills_its_picture_is_read_whole(
    opened: tuple[PlateEngine, PlateSettings], width: int, share: float
) -> None:
    plate = draw_plate("KX52 NHA", STYLES["GB"], px_per_mm=2.0)
    across = round(width * share)
    down = round(across * plate.shape[0] / plate.shape[1])
    height = down if share == 1.0 else max(down * 2, width * 3 // 4)
    picture = np.full((height, width, 3), (70, 74, 80), np.uint8)
    left, top = (width - across) // 2, (height - down) // 2
    picture[top : top + down, left : left + across] = cv2.resize(plate, (across, down), interpolation=cv2.INTER_AREA)
    with RequestContext(Priority.BULK) as call:
        found = read_picture(opened[0], picture, opened[1], Grammar(), call)
    assert [plate.text for plate in found] == ["KX52NHA"]


@pytest.mark.parametrize("opened", ["plates"], indirect=True)
@pytest.mark.parametrize(
    ("said", "sure", "told"),
    [
        ("KL01CA2555", 0.9, True),
        ("4827193", 0.9, True),
        ("TOOLAZY", 0.9, True),
        ("V8R", 0.9, True),
        ("ITSA", 0.9, True),
        ("V8R", 0.5, False),
        ("ITSA", 0.5, False),
        ("50", 0.9, False),
        ("KL01CA2555", 0.5, True),
    ],
)
def test_a_sure_plate_is_one_whatever_it_says_and_what_is_unsure_is_held_back(
    opened: tuple[PlateEngine, PlateSettings], monkeypatch: pytest.MonkeyPatch, said: str, sure: float, told: bool
) -> None:
    engine, plates = opened
    quad = np.array([[10, 10], [110, 10], [110, 40], [10, 40]], np.float32)

    def reads(crops: Sequence[Pixels], **_: Any) -> list[Reply[TextLine]]:
        replies = [Reply[TextLine]() for _ in crops]
        for reply in replies:
            reply.set_result(line_of([(Candidate(character, 0.99),) for character in said]))
        return replies

    monkeypatch.setattr(module, "look", lambda *_: [PlateBox(quad, sure, is_plate=True)])
    monkeypatch.setattr(engine, "read_plates", reads)
    held_back: list[HeldBack] = []
    picture = np.full((300, 400, 3), 90, np.uint8)
    with RequestContext(Priority.BULK) as call:
        found = read_picture(engine, picture, plates, Grammar(), call, held_back=held_back.append)
    assert [plate.text for plate in found] == [said] * told
    assert [one.plate and one.plate.text for one in held_back] == [said] * (not told)
