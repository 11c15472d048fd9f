"""Platoon: one engine reads every camera, page and clip."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from platoon.errors import PlatoonError
    from platoon.media.picture_sampler import sample
    from platoon.reader import Reader
    from platoon.settings import Settings
    from platoon.streams.pipeline import SharedSite
    from platoon.streams.registry import CameraSpec

# The runtimes would tell their makers what is run here. Nothing of them is imported before this package, so this is
# early enough on every way to start; it changes this process and its children alone. ONNX Runtime obeys the variable.
# OpenVINO has none, only a file in the home folder, which is the user's; without its reporting package it is silent.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__version__ = version("platoon")
__all__ = ["CameraSpec", "PlatoonError", "Reader", "Settings", "SharedSite", "sample"]

_HOMES = {
    "CameraSpec": "platoon.streams.registry",
    "PlatoonError": "platoon.errors",
    "Reader": "platoon.reader",
    "Settings": "platoon.settings",
    "SharedSite": "platoon.streams.pipeline",
    "sample": "platoon.media.picture_sampler",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that importing the package stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'platoon' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
