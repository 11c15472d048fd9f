"""Vehicles in rain, at night, close together, among adverts: each becomes exactly one right event, and that is all."""

from pathlib import Path

import pytest
from benchmarks.trials import trials
from benchmarks.vehicles import TRIALS, Verdict, drawn, judge, watch

from platoon.metrics import Metrics
from platoon.plates import open_engine
from platoon.plates.analysis import Analysis
from platoon.settings import EngineSettings, Settings

HELD = 0.96
"""Of the vehicles, in float32, which is the same on all processors; the aim is 0.98. Those that follow others closely
are in sight for two or three of these frames, and one is read in one of them only."""


@pytest.fixture(scope="module")
def verdicts(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """By the name of the clip."""
    folder = tmp_path_factory.mktemp("trials")
    settings, metrics = Settings(cache=cache, engine=EngineSettings(precision="float32")), Metrics()
    found = {}
    with open_engine(settings, metrics) as engine:
        analysis = Analysis(engine, settings, metrics)
        for scene in trials():
            clip = drawn(TRIALS, scene, folder)
            found[scene.name] = judge(watch(clip.path, analysis, settings).events, clip)
        analysis.close()
    return found


def test_every_vehicle_of_the_trials_becomes_exactly_one_right_event(verdicts: dict[str, Verdict]) -> None:
    right = sum(verdict.right for verdict in verdicts.values())
    assert right >= HELD * sum(verdict.vehicles for verdict in verdicts.values()), verdicts
    assert not [text for verdict in verdicts.values() for text in verdict.false], verdicts
