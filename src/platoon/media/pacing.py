"""Streams that come in pieces of some seconds, each all at once, at the pace at which they were made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import av

from platoon.media.sampling import MAX_STEP_S

SEGMENTED: Final = "hls"
"""A format that comes in pieces of some seconds, each all at once."""
_LATE_S: Final = 1.0
"""What comes so late is not made up for."""


def paced(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Packets no sooner than their time stamps say: a piece of a stream that comes at once is no burst of pictures."""
    begin: float | None = None
    for packet in packets:
        stamp = None if packet.dts is None or packet.time_base is None else float(packet.dts * packet.time_base)
        now = time.monotonic()
        if stamp is not None:
            if begin is None or not -_LATE_S <= begin + stamp - now <= MAX_STEP_S:
                begin = now - stamp  # the first, one after a pause, or a clock that was set
            time.sleep(max(0.0, begin + stamp - now))
        yield packet
