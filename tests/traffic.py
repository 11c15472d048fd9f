"""Small clips with plates in them, for tests of the whole: one vehicle after the other, cheap to decode and to read."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from platoon.media.frame import Pixels
from platoon.media.synthetic.plates import STYLES, draw_plate

SIZE = (512, 288)
"""Of the clips, (width, height) in pixels; serves as the size of the detector's input too."""
FPS = 12
EACH_S = 1.5
"""For which a vehicle is in sight."""
GAP_S = 0.5
"""Empty road before each."""
GATE = ["KX52 NHA", "YB19 TFE", "GM64 WCK", "RE07 DHL", "LN23 VKP", "HT71 XSB"]
YARD = ["AB 371 CD", "FG 284 TM", "LM 946 PR", "WX 518 VE", "ZA 723 HK", "NT 465 GJ"]
"""British and French plates: so many that in a loop none comes back before it is forgotten."""


def write_traffic(path: Path, plates: Sequence[str], *, country: str = "GB") -> Path:
    """Encode a clip in which these plates ("LS15 EBC") pass one by one, each nearer in every frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "20"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.gop_size, stream.max_b_frames = FPS, 0
        stream.codec_context.time_base = Fraction(1, FPS)
        for number, picture in enumerate(pictures_of(plates, country)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.pict_type = number, 0  # a picture type that is set would force keyframes
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pictures_of(plates: Sequence[str], country: str = "GB") -> Iterator[Pixels]:
    """RGB (height, width, 3), of a road on which these plates pass, empty before each."""
    random = np.random.default_rng(5)
    road = np.full((SIZE[1], SIZE[0], 3), (96, 98, 102), np.uint8)
    road[: SIZE[1] // 5] = (150, 168, 186)
    for written in plates:
        plate = draw_plate(written, STYLES[country], px_per_mm=0.5)
        colour = random.integers(40, 140, 3).tolist()
        for _ in range(round(GAP_S * FPS)):
            yield _grainy(road, random)
        for step in np.linspace(0, 1, round(EACH_S * FPS)):
            picture = road.copy()
            wide = round(120 + 40 * step)
            tall = round(wide * plate.shape[0] / plate.shape[1])
            left, top = round(60 + 180 * step), round(90 + 120 * step)
            cv2.rectangle(
                picture, (left - wide // 2, top - wide // 2), (left + wide * 3 // 2, top + tall * 2), colour, -1
            )
            picture[top : top + tall, left : left + wide] = cv2.resize(
                plate, (wide, tall), interpolation=cv2.INTER_AREA
            )
            yield _grainy(picture, random)


def _grainy(picture: Pixels, random: np.random.Generator) -> Pixels:
    noise = random.normal(0, 2, picture.shape[:2])[..., None]
    seen: Pixels = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return seen
