"""Vehicles in rain, at night, close together, among adverts: each becomes exactly one right event, and that is all."""

from pathlib import Path

import pytest
from benchmarks.photographs import bare
from benchmarks.trials import trials
from benchmarks.vehicles import AIM, TRIALS, Verdict, drawn, judge, watch

from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.plates.analysis import Analysis
from platoon.plates.vote import fold
from platoon.settings import Settings

LINE_BY_LINE = {"Two lines"}
"""Clips whose plates have two lines, which a detector of text takes for two plates."""

SIGNS = {fold(bare(sign.words)) for scene in trials() for sign in scene.signs}


@pytest.fixture(scope="module")
def verdicts(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """By the name of the clip."""
    folder = tmp_path_factory.mktemp("trials")
    settings, metrics = Settings(cache=cache), Metrics()
    found = {}
    with TextEngine(settings.engine, settings.cache, metrics) as engine:
        analysis = Analysis(engine, settings, metrics)
        for scene in trials():
            clip = drawn(TRIALS, scene, folder)
            found[scene.name] = judge(watch(clip.path, analysis, settings).events, clip)
        analysis.close()
    return found


def test_every_vehicle_of_the_trials_becomes_exactly_one_right_event(verdicts: dict[str, Verdict]) -> None:
    counted = {name: verdict for name, verdict in verdicts.items() if name not in LINE_BY_LINE}
    right = sum(verdict.right for verdict in counted.values())
    assert right >= AIM * sum(verdict.vehicles for verdict in counted.values()), counted
    assert not [text for verdict in counted.values() for text in verdict.false if fold(text) not in SIGNS], counted


@pytest.mark.xfail(strict=True, reason="the text detector finds the lines of a plate one by one")
def test_plates_of_two_lines_are_read_as_one(verdicts: dict[str, Verdict]) -> None:
    assert all(verdicts[name].right == verdicts[name].vehicles and not verdicts[name].false for name in LINE_BY_LINE)


@pytest.mark.xfail(strict=True, reason="to the text detector a sign that says P 200M is a parked car of Austria")
def test_no_sign_is_taken_for_a_plate(verdicts: dict[str, Verdict]) -> None:
    assert not [text for verdict in verdicts.values() for text in verdict.false if fold(text) in SIGNS]
