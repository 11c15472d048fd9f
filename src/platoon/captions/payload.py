"""How a segment of a video is put into a question, by what servers take."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import cv2
import numpy as np

from platoon.media.frame import Pixels, as_jpeg

Content = list[dict[str, Any]]
"""The parts of a message."""
_QUALITY: Final = 85


class Form(StrEnum):
    """How the video is sent."""

    JPEGS = "jpegs"
    """One video of JPEG files, which vLLM takes for one picture a second, 32 at most."""
    MP4 = "mp4"
    """One video, of which the server takes the pictures that it likes."""
    PICTURES = "pictures"
    """Pictures, one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What a model is shown of a segment: pictures, or the video itself."""

    jpegs: Sequence[bytes] = ()
    mp4: bytes = b""

    def content(self, form: Form, prompt: str) -> Content:
        """The question with the video in this form, of which the clip has what it needs."""
        match form:
            case Form.JPEGS:
                parts = [_video("jpeg", ",".join(map(_base64, self.jpegs)))]
            case Form.MP4:
                parts = [_video("mp4", _base64(self.mp4))]
            case Form.PICTURES:
                urls = [f"data:image/jpeg;base64,{_base64(jpeg)}" for jpeg in self.jpegs]
                parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return [*parts, question(prompt)]


def question(prompt: str) -> dict[str, Any]:
    """The part of a message that asks."""
    return {"type": "text", "text": prompt}


def shrunk(picture: Pixels, max_side: int) -> Pixels:
    """The picture, no larger than `max_side` pixels on either side; (height, width, 3) uint8."""
    height, width = picture.shape[:2]
    scale = max_side / max(height, width)
    if scale >= 1:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg(picture: Pixels) -> bytes:
    """A picture as it is sent."""
    return as_jpeg(picture, quality=_QUALITY)


def _video(kind: str, data: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": f"data:video/{kind};base64,{data}"}}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
