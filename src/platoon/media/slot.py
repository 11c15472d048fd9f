"""The slot between a camera's decoder thread and the mux: it holds the newest frame and nothing older.

Promises that a decoder of a live source never waits for the detector, and that a file read at full speed
loses no frame. Counting what was replaced is left to the one who offers.
"""

import threading
from collections.abc import Callable

from platoon.media.frame import Frame


class NewestSlot:
    """Room for one frame; safe between one thread that offers and one that takes.

    Args:
        ready: notified on every frame and on close; a mux's slots share it, so that one wait serves all
        cameras. keep_all: never replace an unread frame; `offer` waits until it was taken instead.
    """

    def __init__(self, *, ready: threading.Condition, keep_all: bool = False) -> None:
        self._ready = ready
        self._keep_all = keep_all
        self._room = threading.Semaphore(1)
        self._frame: Frame | None = None
        self._closed = False
        self.on_room: Callable[[], None] = lambda: None
        """Called, on the taker's thread, whenever a frame was taken, and on close."""

    @property
    def filled(self) -> bool:
        """Whether a frame waits."""
        return self._frame is not None

    @property
    def has_room(self) -> bool:
        """Whether a frame would replace no other."""
        return self._frame is None or self._closed

    @property
    def finished(self) -> bool:
        """Whether the slot is closed and its last frame was taken: nothing will ever come again."""
        return self._closed and self._frame is None

    def offer(self, frame: Frame) -> bool:
        """Put `frame` in; whether an unread one had to go for it. A closed slot takes nothing."""
        if self._keep_all:
            self._room.acquire()
        with self._ready:
            if self._closed:
                return False
            replaced = self._frame is not None
            self._frame = frame
            self._ready.notify_all()
        return replaced

    def take(self) -> Frame | None:
        """The newest frame, or None; the slot is empty afterwards."""
        with self._ready:
            frame, self._frame = self._frame, None
        if frame is not None:
            if self._keep_all:
                self._room.release()
            self.on_room()
        return frame

    def close(self) -> None:
        """Take no more frames and let go whoever waits in `offer`; a frame already here may be taken."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        self._room.release()
        self.on_room()
