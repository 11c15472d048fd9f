"""Platoon on files that are played again and again as fast as they are analysed, which no command needs.

python -m benchmarks.full_speed CAMERAS [--isolated], with settings from the environment. Everything else is as in
`platoon run`; ends at SIGTERM.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from platoon.api.serve import HttpServer
from platoon.settings import Settings
from platoon.streams.isolated import IsolatedSite
from platoon.streams.pipeline import SharedSite
from platoon.streams.registry import read_registry


def main() -> None:
    """Run until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cameras", type=Path)
    parser.add_argument("--isolated", action="store_true")
    given = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = Settings.load()
    site = (IsolatedSite if given.isolated else SharedSite)(settings, recorded=True, loop=True)
    site.change(read_registry(given.cameras))
    with HttpServer(site, settings):
        site.start()
        while not stop.wait(0.5):
            site.wait(0.0)  # raises what stopped the analysis
    site.stop()


if __name__ == "__main__":
    main()
