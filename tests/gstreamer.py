"""GStreamer for tests: PyGObject from the folder that `scripts/gstreamer-env` makes, and Debian's elements."""

import os
import sys
from pathlib import Path

from tests.absent import absent


def site() -> Path:
    """What goes on PYTHONPATH; the test is skipped where it was not made, unless everything has to be there."""
    folder = Path(os.environ.get("PLATOON_GSTREAMER_ENV", Path(__file__).parents[1] / ".venv-gstreamer"))
    if not (folder / "ready").exists():
        absent(f"no PyGObject in {folder}; make gstreamer builds it for tests")
    return folder / "site"


def bring() -> None:
    """Let this process import it."""
    if str(site()) not in sys.path:
        sys.path.append(str(site()))
