"""Decoders that are one pipeline for all cameras of a site."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from platoon.media.gstreamer import configurations
from platoon.media.gstreamer.elements import DEEPSTREAM, GSTREAMER, Elements
from platoon.media.gstreamer.input import PipelineInput
from platoon.media.gstreamer.pipeline import CameraPipeline
from platoon.media.input import Opener
from platoon.settings import SourceSettings

PIPELINES: dict[str, Elements] = {"gstreamer": GSTREAMER, "deepstream": DEEPSTREAM}
"""Decoders that are one pipeline for all cameras, by their name in the settings."""


def opener(settings: SourceSettings, cache: Path, *, cameras: Callable[[], int]) -> tuple[Opener, Callable[[], None]]:
    """What opens cameras, and what ends it.

    Args:
        cache: folder for what a pipeline reads at its start.
        cameras: how many there are; asked when the first connects.

    Raises:
        MissingExtra: what the decoder needs is not installed. InvalidSettings: `source.nvinfer` cannot be used.
    """
    elements = PIPELINES[settings.decoder]
    detector, folder = settings.nvinfer, cache / "deepstream"
    if detector is not None:
        configurations.read(detector)  # so that who starts it sees what is wrong with it
    pipeline = CameraPipeline(
        elements, cameras=cameras, configured=lambda batch: configurations.write(detector, folder, batch=batch)
    )
    return partial(PipelineInput, pipeline), pipeline.close
