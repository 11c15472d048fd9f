"""What a site makes of recorded clips, read to their end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from platoon.settings import AnalysisSettings, EngineSettings, PlateSettings, Settings, StoreSettings
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import CameraSpec
from tests.running import wait_until


def events_of(
    folder: Path, clips: Mapping[str, Path], *, lanes: int, size: tuple[int, int] | None = None, every: int = 1
) -> dict[str, list[dict[str, Any]]]:
    """All events of each camera, in order, but for what differs from run to run.

    Args:
        size: (width, height) of the detector's input; none: the usual one.
        every: see `AnalysisSettings`.
    """
    width, height = size or (None, None)
    events: dict[str, list[dict[str, Any]]] = {camera: [] for camera in clips}

    def note(event: Mapping[str, Any]) -> None:
        known = {name: value for name, value in event.items() if name not in ("id", "time", "crop")}
        events[event["camera"]].append(known)

    settings = Settings(
        plates=PlateSettings(input_width=width, input_height=height),
        engine=EngineSettings(runtime="openvino", max_batch=1),
        store=StoreSettings(path=folder / f"{lanes} lanes"),
        analysis=AnalysisSettings(every=every),
        cache=folder,
    )
    site = SharedSite(settings, recorded=True, lanes=lanes, on_event=note)
    site.change([CameraSpec(camera, camera, str(clip), 0) for camera, clip in clips.items()])
    site.start()
    try:
        wait_until(lambda: site.wait(0.01), "the end")
    finally:
        site.stop()
    return events
