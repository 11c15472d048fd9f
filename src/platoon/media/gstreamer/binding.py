"""GStreamer as PyGObject shows it, imported when it is first asked for: nothing else in Platoon needs either."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from platoon.errors import MissingExtra

_PLAYLISTS: Final = (
    "hlsdemux", "hlsdemux2", "dashdemux", "dashdemux2", "mssdemux", "mssdemux2", "sdpdemux",
)  # fmt: skip
"""What they read names other addresses and files, which nobody has allowed."""


def gstreamer(environment: Mapping[str, str] | None = None) -> Any:
    """The namespace `Gst`, initialised; of its video library as `GstVideo` see `video`.

    Args:
        environment: variables that its plugins read as they are loaded; only those of the first call count.

    Raises:
        MissingExtra: PyGObject or GStreamer's introspection data are not installed.
    """
    os.environ.update(environment or {})
    return _loaded()[0]


def video() -> Any:
    """The namespace `GstVideo`. Raises as `gstreamer`."""
    return _loaded()[1]


@cache
def _loaded() -> tuple[Any, Any]:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstVideo
    except (ImportError, ValueError) as error:
        raise MissingExtra(
            f"decoding by GStreamer needs PyGObject (pip install 'platoon[deepstream]') and Debian's "
            f"gir1.2-gst-plugins-base-1.0, or what DeepStream brings: {error}"
        ) from None
    Gst.init(None)
    registry = Gst.Registry.get()
    for name in _PLAYLISTS:
        if (feature := registry.find_feature(name, Gst.ElementFactory.__gtype__)) is not None:
            feature.set_rank(Gst.Rank.NONE)
    return Gst, GstVideo
