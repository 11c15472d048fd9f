"""How a camera encodes: codec, group of pictures, B-frames, rate control."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from av.video.codeccontext import VideoCodecContext

_BT601 = 6  # AVCOL_SPC_SMPTE170M
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Settings of one camera's encoder; the defaults are a common camera's."""

    codec: Literal["libx264", "libx265"] = "libx264"
    group_s: float = 2.0
    """From one keyframe to the next."""
    b_frames: int = 0
    """Most in a row."""
    quality: int = 24
    """Constant quality (CRF): fewer bits where less moves."""
    kbps: int | None = None
    """The rate in kilobits per second that is held (CBR), instead of the quality."""
    most_kbps: int | None = None
    """What the quality yields to where it would take more (VBV)."""
    preset: str = "veryfast"

    def apply(self, context: VideoCodecContext, size: tuple[int, int], fps: int) -> None:
        """Set up an encoder that is not open yet, for 4:2:0 pictures of `size` (width, height)."""
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.gop_size, context.max_b_frames = round(self.group_s * fps), self.b_frames
        context.colorspace, context.color_range = _BT601, _LIMITED_RANGE
        # One thread: the bytes must not depend on the machine's cores, and clips are rendered side by side.
        context.thread_count = 1
        context.time_base, context.framerate = Fraction(1, fps), Fraction(fps)
        context.options = {"preset": self.preset, **self._rate()}
        if self.kbps is not None:
            context.bit_rate = self.kbps * 1000

    def _rate(self) -> dict[str, str]:
        most = self.kbps or self.most_kbps
        buffer = {} if most is None else {"maxrate": f"{most}k", "bufsize": f"{most}k"}
        quality = {} if self.kbps is not None else {"crf": str(self.quality)}
        if self.codec == "libx265":
            vbv = "" if most is None else f":vbv-maxrate={most}:vbv-bufsize={most}"
            return quality | {"x265-params": f"log-level=error:pools=none:frame-threads=1{vbv}"}
        return quality | buffer
