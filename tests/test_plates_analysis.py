"""The analysis of a batch is a transaction per frame: what fails in one leaves the others, and all events, alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platoon.engine.batcher import Reply
from platoon.errors import Overloaded, PlatoonError, Unavailable
from platoon.media.frame import Detection
from platoon.metrics import Metrics
from platoon.ocr.recognition import TextLine
from platoon.plates.analysis import Analysis
from platoon.plates.events import PlateEvent, PlatePipeline
from platoon.plates.grammar import Grammar
from platoon.plates.reader import PlateReader
from platoon.settings import PlateSettings, Settings
from tests.plate_scripts import frame, line
from tests.scripted_frames import PLACE, PLATES, SIZE, ScriptedEngine, ScriptedFrame

CAMERAS = range(5)
POISONED = 2
GRAMMAR = Grammar({"GB": 1})


class Bench:
    """Five cameras in one batch."""

    def __init__(self, folder: Path) -> None:
        self.engine = ScriptedEngine()
        settings = Settings(cache=folder, plates=PlateSettings(input_width=SIZE[0], input_height=SIZE[1]))
        self.watches = [
            PlatePipeline(f"camera {number}", GRAMMAR, same_vehicle_s=0.1, parked_s=0.1) for number in CAMERAS
        ]
        self.analysis = Analysis(self.engine, settings, Metrics())  # type: ignore[arg-type]
        self.emitted: list[PlateEvent] = []
        self.poison: Callable[[str], None] = lambda _stage: None

    def batch(self, at: float, *, empty: bool = False) -> list[Exception | None]:
        frames: list[Any] = [ScriptedFrame(number, at, empty=empty) for number in CAMERAS]
        frames[POISONED].fails = lambda stage: self.poison(stage)
        self.engine.fails = lambda stage, number: self.poison(stage) if number == POISONED else None
        return self.analysis.analyse([*zip(frames, self.watches, strict=True)], self.emitted.extend)

    def finals(self) -> list[str]:
        return [event.plate.text for event in self.emitted if event.state == "final"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def poison(at: str, error: Exception) -> Callable[[str], None]:
    def fails(stage: str) -> None:
        if stage == at:
            raise error

    return fails


@pytest.mark.parametrize("stage", ["scale", "detect", "cut", "read"])
def test_a_frame_that_raises_in_the_middle_of_a_batch_is_lost_alone(bench: Bench, stage: str) -> None:
    error = MemoryError("planes")
    bench.poison = poison(stage, error)
    for step in range(4):
        errors = bench.batch(step / 4)
        assert [number for number, lost in enumerate(errors) if lost is not None] == [POISONED]
        assert errors[POISONED] is error
    assert bench.finals() == [PLATES[number] for number in CAMERAS if number != POISONED]
    bench.poison = lambda _stage: None
    for step in range(4, 8):
        assert bench.batch(step / 4) == [None] * len(CAMERAS)
    assert bench.finals()[-1] == PLATES[POISONED], "and it is back by itself"


def test_what_was_found_where_a_frame_was_decoded_is_read_without_looking_again(bench: Bench) -> None:
    known = [Detection(PLACE.quad, 0.9)]
    for step in range(5):
        frames: list[Any] = [ScriptedFrame(number, step / 4, empty=step == 4) for number in CAMERAS]
        frames[0].detections = [] if step == 4 else known
        frames[1].detections = []
        errors = bench.analysis.analyse([*zip(frames, bench.watches, strict=True)], bench.emitted.extend)
        assert errors == [None] * len(CAMERAS)
    assert all(set(batch) <= {*CAMERAS, -1} - {0, 1} for batch in bench.engine.batches)
    assert bench.finals() == [PLATES[number] for number in CAMERAS if number != 1]


@pytest.mark.parametrize("what", ["observe", "settle", "gone"])
def test_plates_of_one_camera_that_cannot_be_followed_are_lost_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def fails(*_: object) -> Any:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(bench.watches[POISONED], what, fails)
        for step in range(4):
            errors = bench.batch(step / 4)
            assert [number for number, lost in enumerate(errors) if lost is not None] == [POISONED]
    assert bench.finals() == [PLATES[number] for number in CAMERAS if number != POISONED]
    for step in range(4, 8):
        assert bench.batch(step / 4) == [None] * len(CAMERAS)
    assert bench.finals()[-1] == PLATES[POISONED]


@pytest.mark.parametrize("stage", ["scale", "detect", "cut", "read"])
def test_vehicles_that_have_gone_are_emitted_even_if_the_frame_that_shows_it_fails(bench: Bench, stage: str) -> None:
    for step in range(2):  # seen too seldom to be decided while in sight
        assert bench.batch(step / 4) == [None] * len(CAMERAS)
    assert bench.finals() == []
    bench.poison = poison(stage, ValueError("bad"))
    bench.batch(60.0)
    assert sorted(bench.finals()) == sorted(PLATES[number] for number in CAMERAS)


def test_nothing_is_emitted_twice_when_the_detector_is_back(bench: Bench) -> None:
    for step in range(4):
        bench.batch(step / 4)
    bench.engine.away = Unavailable("Triton is away")
    for step in range(4, 400):
        errors = bench.batch(step / 4)
        assert [str(error) for error in errors] == ["Triton is away"] * len(CAMERAS)
    bench.engine.away = None
    bench.batch(100.0, empty=True)
    assert sorted(bench.finals()) == sorted(PLATES[number] for number in CAMERAS)


def test_an_error_that_says_retry_is_not_looked_for_in_single_frames(bench: Bench) -> None:
    bench.engine.away = Unavailable("Triton is away")
    bench.batch(0.0)
    assert bench.engine.batches == [[*CAMERAS]]


def test_the_rest_of_the_vehicles_that_have_gone_are_emitted_if_one_cannot_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = bench.watches[0]
    for step in range(2):
        bench.batch(step / 4)
    (track_state,) = watch._track_states.values()
    other: Any = watch._track_states.setdefault(99, type(track_state)(track_state.track, track_state.vote))
    monkeypatch.setattr(type(watch), "_emit", _failing_for(other, watch._emit))
    monkeypatch.setattr(watch._tracker, "tracks", [_twin(track_state.track, 99), track_state.track])
    assert [event.plate.text for event in watch.finish()] == [PLATES[0]]


def _failing_for(one: object, emit: Callable[..., Any]) -> Callable[..., Any]:
    def emit_unless_failing(_watch: object, track_state: object, **options: Any) -> Any:
        if track_state is one:
            raise ZeroDivisionError
        return emit(track_state, **options)

    return emit_unless_failing


def _twin(track: Any, identity: int) -> Any:
    return type(track)(id=identity, quad=track.quad, last_time=track.last_time)


class Slow:
    """A recogniser whose replies come from a server that is away: each would be waited for."""

    def __init__(self) -> None:
        self.replies: list[Reply[TextLine]] = []

    def read_plates(self, crops: Sequence[Any], **_: Any) -> list[Reply[TextLine]]:
        self.replies = [Reply() for _ in crops]
        self.replies[0].set_result(line("FIRST"))
        self.replies[1].set_exception(Unavailable("away"))
        return self.replies

    read_plate_lines = read_plates


def test_a_reader_that_is_away_is_waited_for_once_and_not_for_every_plate() -> None:
    slow = Slow()
    (first, *others) = PlateReader(slow, tight=True).read([(frame(0.0), PLACE.quad)] * 20)
    assert isinstance(first, tuple)
    assert first[1].text == "FIRST"
    assert [str(other) for other in others] == ["away"] * 19
    for reply in slow.replies[2:]:
        with pytest.raises(CancelledError):
            reply.result(0)


def test_a_full_queue_costs_the_plates_of_these_frames() -> None:
    class Full(Slow):
        def read_plates(self, crops: Sequence[Any], **_: Any) -> list[Reply[TextLine]]:
            raise Overloaded("full")

        read_plate_lines = read_plates

    outcomes = PlateReader(Full(), tight=True).read([(frame(0.0), PLACE.quad)] * 3)
    assert [str(outcome) for outcome in outcomes] == ["full"] * 3


def test_a_crop_that_cannot_be_submitted_is_left_out_alone() -> None:
    class Picky(Slow):
        def read_plates(self, crops: Sequence[Any], **_: Any) -> list[Reply[TextLine]]:
            if any(crop.shape[1] > 1000 for crop in crops):
                raise ValueError("too wide")
            replies: list[Reply[TextLine]] = [Reply() for _ in crops]
            for reply in replies:
                reply.set_result(line("OK"))
            return replies

        read_plate_lines = read_plates

    wide = np.array([[0, 0], [1279, 0], [1279, 8], [0, 8]], np.float32)
    regions = [(frame(0.0), quad) for quad in (PLACE.quad, wide, PLACE.quad)]
    outcomes = PlateReader(Picky(), tight=True).read(regions)
    assert [str(one) if isinstance(one, Exception) else one[1].text for one in outcomes] == ["OK", "too wide", "OK"]


def test_who_needs_every_frame_hears_of_the_first_that_fails(bench: Bench) -> None:
    bench.engine.away = Unavailable("Triton is away")
    one: Any = ScriptedFrame(0, 0.0)
    with pytest.raises(PlatoonError, match="Triton is away"):
        bench.analysis.run([(one, bench.watches[0])])
