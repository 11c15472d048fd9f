"""Licence plates: finding them, reading them, telling vehicles apart."""

from platoon.engine.tuning import Tuning
from platoon.ocr.engine import TextEngine
from platoon.plates.detector import PlateDetector
from platoon.settings import Settings


def open_detector(engine: TextEngine, settings: Settings) -> PlateDetector:
    """The detector that `settings.plates` names: the text detector of `engine`, or an ONNX export.

    Raises:
        ModelError: the export cannot be loaded or is none that Platoon can read.
    """
    from platoon.plates.onnx_detector import OnnxPlateDetector
    from platoon.plates.text_detector import TextPlateDetector

    plates = settings.plates
    if plates.detector is None:
        return TextPlateDetector(engine, plates)
    return OnnxPlateDetector.open(
        plates.detector,
        settings.engine,
        Tuning(settings.cache),
        engine.metrics,
        classes=plates.classes,
        min_score=plates.min_score,
    )
