"""Small video files for tests, drawn and encoded on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from platoon.media.frame import Frame, Letterbox, Pixels, Quad, Region
from platoon.metrics import Purpose


def picture(number: int, width: int, height: int) -> Pixels:
    """Picture `number` of a clip: a bright bar on a dark slope; the bar moves right by a 16th of the width."""
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = np.linspace(40, 120, height)[:, None, None] * (1, 0.6, 0.5)
    left = number % 16 * width // 16
    cv2.rectangle(rgb, (left, 0), (left + width // 16, height), (255, 220, 90), -1)
    return rgb


def bar_position(rgb: Pixels) -> int:
    """Which picture of 16 this is, by the place of its bar."""
    columns = rgb.astype(np.int32).mean(axis=(0, 2))
    return int((columns > 160).argmax() * 16 / rgb.shape[1] + 0.5)


def whole(frame: Frame) -> Pixels:
    return frame.pixels.picture(frame)


def scaled_into(frame: Frame, out: Pixels, *, purpose: Purpose = Purpose.DETECT) -> Letterbox:
    (box,) = frame.pixels.scale([frame], out[None], purpose=purpose)
    return box


def rectified(frame: Frame, quad: Quad, size: tuple[int, int]) -> Pixels:
    (picture,) = frame.pixels.rectify([Region(frame, quad, size)])
    return frame.pixels.host(picture)


def write_clip(
    path: Path,
    *,
    width: int = 160,
    height: int = 96,
    frames: int = 30,
    fps: int = 30,
    keyframe_every: int = 10,
    b_frames: int = 0,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode `frames` pictures into a new file; the suffix chooses the container."""
    preset = {"preset": "ultrafast", "sc_threshold": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options={**preset, **(options or {})})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.gop_size, stream.max_b_frames = keyframe_every, b_frames
        stream.codec_context.time_base = Fraction(1, fps)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.pts, frame.pict_type = number, 0  # a picture type that is set would force keyframes
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float, into: Path) -> Path:
    """The first `share` of a file's bytes, as an interrupted copy leaves them."""
    data = path.read_bytes()
    into.write_bytes(data[: int(len(data) * share)])
    return into
