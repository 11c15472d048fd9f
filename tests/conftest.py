"""What tests of the text models share: one loaded engine, as loading it takes seconds."""

from collections.abc import Iterator

import pytest

from platoon.metrics import Metrics
from platoon.ocr.engine import TextEngine
from platoon.settings import EngineSettings


@pytest.fixture(scope="session")
def text_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TextEngine]:
    """The text models, loaded when first used."""
    settings = EngineSettings(runtime="openvino", max_batch=4)
    with TextEngine(settings, tmp_path_factory.mktemp("engine"), Metrics(), size=(224, 416)) as engine:
        yield engine
