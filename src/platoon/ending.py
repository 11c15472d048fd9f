"""How a command that goes on ends: asked once it finishes what is under way, asked twice it ends at once.

Ending has a deadline, whatever hangs: what must not be lost is on the disk at any time.
"""

import faulthandler
import logging
import os
import signal
import threading
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

log = logging.getLogger(__name__)


class Ending:
    """Says when the process is asked to end. Made by the main thread.

    Args:
        within_s: by then it has ended.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._asked = threading.Event()

    def listen(self) -> None:
        """Be asked by the signals of terminals and service managers."""
        for name in _SIGNALS:
            signal.signal(name, lambda *_: self.begin())

    def begin(self) -> None:
        """It is asked. From now on a signal ends the process at once, and so does the deadline."""
        self._asked.set()
        for name in _SIGNALS:
            signal.signal(name, signal.SIG_DFL)
        deadline = threading.Timer(self._within_s, self._end)
        deadline.daemon = True
        deadline.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Until it is asked, or the time is over; whether it was."""
        return self._asked.wait(timeout_s)

    def _end(self) -> None:
        log.critical("this process did not end within %g s after it was asked to, and is cut off", self._within_s)
        faulthandler.dump_traceback()
        os._exit(1)
