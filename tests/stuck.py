"""A text engine that never reads."""

import threading
from collections.abc import Sequence
from typing import Any

from platoon.engine.batcher import Reply
from platoon.media.frame import Pixels


class Stuck:
    """In the place of a `TextEngine`; what it was asked for waits for ever."""

    def __init__(self) -> None:
        self.replies: list[Reply[Any]] = []
        self.asked = threading.Event()
        self.maps: list[Any] = []
        """What detection answers at once, if anything."""

    def detect(self, pictures: Sequence[Pixels], **_: Any) -> list[Reply[Any]]:
        """As `TextEngine.detect`."""
        if self.maps:
            found = [Reply[Any]() for _ in self.maps]
            for reply, text_map in zip(found, self.maps, strict=True):
                reply.set_result(text_map)
            return found
        return self.read_lines(pictures)

    def read_lines(self, pictures: Sequence[Pixels], **_: Any) -> list[Reply[Any]]:
        """As `TextEngine.read_lines`."""
        replies = [Reply[Any]() for _ in pictures]
        self.replies += replies
        self.asked.set()
        return replies
