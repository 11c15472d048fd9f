"""Licence plates: finding them, reading them, telling vehicles apart."""

from platoon.engine.tuning import Tuning
from platoon.metrics import Metrics
from platoon.plates.detector import PlateDetector
from platoon.plates.engine import PlateEngine
from platoon.settings import Settings


def open_engine(settings: Settings, metrics: Metrics, *, executions: int | None = None) -> PlateEngine:
    """An engine that is ready for the pictures that the detector of `settings.plates` sees.

    Args:
        executions: see `TextEngine`.
    """
    size = settings.plates.input_size
    sizes = {"plate_size": size} if settings.plates.detector == "plates" else {"size": size}
    return PlateEngine(settings.engine, settings.cache, metrics, executions=executions, **sizes)


def open_detector(engine: PlateEngine, settings: Settings) -> PlateDetector:
    """The detector that `settings.plates` names.

    Raises:
        ModelError: its weights cannot be loaded, or are none that Platoon can use.
    """
    from platoon.plates.corner_detector import CornerPlateDetector
    from platoon.plates.onnx_detector import OnnxPlateDetector
    from platoon.plates.text_detector import TextPlateDetector

    plates = settings.plates
    if plates.detector == "text":
        return TextPlateDetector(engine, plates)
    if plates.detector == "plates":
        return CornerPlateDetector(engine, plates)
    return OnnxPlateDetector.open(
        plates.detector,
        settings.engine,
        Tuning(settings.cache),
        engine.metrics,
        engine.gates,
        classes=plates.classes,
        min_score=plates.least_score,
    )
