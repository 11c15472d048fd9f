"""What tests share: one loaded engine, as loading it takes seconds, and one Redis."""

from collections.abc import Iterator
from concurrent.futures import wait

import numpy as np
import pytest

from platoon.metrics import Metrics
from platoon.plates.engine import PlateEngine
from platoon.settings import EngineSettings
from tests.clock import Clock
from tests.redis_server import RedisServer


@pytest.fixture
def clock() -> Clock:
    """A clock that the test sets."""
    return Clock()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for tests that leave nothing in it: `forget`."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="session")
def text_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlateEngine]:
    """The text models, loaded when first used: not within the deadline of whichever test comes first."""
    settings = EngineSettings(runtime="openvino", max_batch=4)
    with PlateEngine(settings, tmp_path_factory.mktemp("engine"), Metrics(), size=(224, 416)) as engine:
        wait(engine.detect([np.zeros((64, 64, 3), np.uint8)]))
        wait(engine.read_lines([np.zeros((48, 64, 3), np.uint8)]))
        wait(engine.read_plates([np.zeros((48, 64, 3), np.uint8)]))
        yield engine
