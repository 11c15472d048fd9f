"""Platoon: one engine reads every camera, page and clip."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from platoon.errors import PlatoonError
    from platoon.ocr.reader import Reader
    from platoon.settings import Settings
    from platoon.streams.pipeline import SharedSite
    from platoon.streams.registry import CameraSpec

__version__ = version("platoon")
__all__ = ["CameraSpec", "PlatoonError", "Reader", "Settings", "SharedSite"]

_HOMES = {
    "CameraSpec": "platoon.streams.registry",
    "PlatoonError": "platoon.errors",
    "Reader": "platoon.ocr.reader",
    "Settings": "platoon.settings",
    "SharedSite": "platoon.streams.pipeline",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, so that importing the package stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'platoon' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
