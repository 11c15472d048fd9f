"""Decodes the packets of a live stream, each for what it is wanted for: see `Backlog` for a camera that sleeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from platoon.media.activity import LOOK_S, PictureChange
from platoon.media.attention import Attention, Reason, Role

GLANCES: Final = (Role.GLANCE, Role.REFERENCE)
"""Pictures decoded for these are not handed on."""
LUMA_SIZE: Final = (96, 54)
"""(width, height) of the small picture by which it is seen whether something has changed; so many times as large as the
picture is wider than `LUMA_OF`."""
LUMA_OF: Final = 1280


class LiveDecoder:
    """The decoder of one live stream, for one thread.

    Every packet has an `Arrival` as its `opaque`, which its picture gets, whatever packets come before or after it.

    Args:
        attention: woken up when a camera that sleeps shows something else than before.
        forget: called with a keyframe at which there was nothing to see.
        sleeps: whether the camera ever sleeps; if not, nobody looks for changes.
    """

    def __init__(
        self, stream: av.VideoStream, attention: Attention, forget: Callable[[av.Packet], None], *, sleeps: bool
    ) -> None:
        self._stream, self._context, self._sleeps = stream, stream.codec_context, sleeps
        self._context.flags |= Flags.copy_opaque
        self._attention, self._forget = attention, forget
        self._change, self._reformatter = PictureChange(), VideoReformatter()
        self._glanced: av.VideoFrame | None = None
        """The newest picture that was decoded for a glance."""
        self._looked_at = -math.inf
        """When the last picture arrived that was looked at."""
        self._empty = True
        """Whether the decoder holds no picture."""

    def restart(self) -> None:
        """What comes next does not follow what came before."""
        self._context.flush_buffers()
        self._empty = True

    def thin(self, few: bool) -> None:
        """From now on, decode no picture that no other refers to, or each."""
        self._context.skip_frame = "NONREF" if few else "DEFAULT"

    def decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        """The pictures that come with this packet. Raises av.error.FFmpegError."""
        if packet.opaque.role is not Role.LOOK:
            self._empty = False
            pictures = list(packet.decode())
            if packet.opaque.role in GLANCES:
                self._glance(packet, pictures)
            elif packet.opaque.role is Role.LIVE and pictures:
                self._look_awake(pictures[-1])
            return pictures
        # A decoder that reorders pictures gives the last ones, and a single one, only at the end of everything.
        before: list[av.VideoFrame] = [] if self._empty else self._held()
        alone = [*packet.decode(), *self._held()]
        if not alone or self._differs(alone[0], packet.opaque.at):
            self._attention.wake(Reason.CHANGE)
            return before
        self._forget(packet)
        return before + alone

    def _glance(self, packet: av.Packet, pictures: list[av.VideoFrame]) -> None:
        self._glanced = next(reversed(pictures), self._glanced)
        if packet.opaque.role is Role.GLANCE and self._glanced is not None:
            if self._differs(self._glanced, packet.opaque.at):
                self._attention.wake(Reason.CHANGE)
            self._glanced = None

    def _look_awake(self, picture: av.VideoFrame) -> None:
        """Keep a camera awake while its picture changes. Where a plate does so already, nothing is to become usual."""
        at: float = picture.opaque.at
        due = self._sleeps and at - self._looked_at >= LOOK_S and self._attention.reason is not Reason.PLATE
        if due and self._differs(picture, at):
            self._attention.wake(Reason.CHANGE)

    def _differs(self, picture: av.VideoFrame, at: float) -> bool:
        """Whether a picture that arrived then shows something else than those that were looked at before."""
        self._looked_at, times = at, max(1, picture.width // LUMA_OF)
        width, height = (times * side for side in LUMA_SIZE)
        luma = self._reformatter.reformat(picture, width, height, "gray", interpolation="AREA").to_ndarray()
        return self._change.differs(np.asarray(luma, np.uint8), at)

    def _held(self) -> list[av.VideoFrame]:
        """What the decoder still holds; it begins anew then."""
        try:
            pictures: list[av.VideoFrame] = list(self._context.decode(None))
        finally:
            self.restart()
        for picture in pictures:
            picture.time_base = self._stream.time_base  # which only packets bring
        return pictures
