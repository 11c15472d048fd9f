"""What the CPU makes of pixels stays the same to the bit: every event that was ever compared rests on it."""

import hashlib
from pathlib import Path

import numpy as np

from platoon.media.decode import planar_frame
from platoon.media.frame import Matrix, Planes
from platoon.media.frame import PlanarFrame as Frame
from platoon.media.input import Input
from platoon.media.opencv_pixels import OpenCvPixels
from platoon.metrics import PixelMeter
from platoon.settings import SourceSettings
from tests.clips import rectified, scaled_into, whole

ROADSIDE = Path(__file__).parents[2] / "shared/data/video/roadside.mp4"
SCALED = "581bf013c18717ba183c32032710890e42a420ab746b94762cf02d613c818308"
CUT = "533b1e66041d7921afe5532739c798b760289895e7ce7f9d035fc4d257314cc4"
MADE_UP = "e17e460a7c7d731a5b841b5b8cc035bf7d64c01eb72be9f23f5009ead4ec9e9e"
PIXELS = OpenCvPixels(PixelMeter())


def test_frames_of_a_clip_are_scaled_and_cut_to_the_bit_as_ever() -> None:
    scaled, regions = hashlib.sha256(), hashlib.sha256()
    batch = np.zeros((1, 448, 768, 3), np.uint8)
    source = Input(str(ROADSIDE), SourceSettings())
    for number, (picture, _) in enumerate(source.pictures()):
        if number % 10 == 0:
            frame = planar_frame(picture, camera="gate", media_time=0, captured_at=0, pixels=PIXELS)
            scaled_into(frame, batch[0])
            scaled.update(batch.tobytes())
            x = 100.0 + 7.3 * number
            corners = [[x, 400.2], [x + 150.7, 412.9], [x + 148.1, 460.5], [x - 3.2, 447.4]]
            regions.update(rectified(frame, np.array(corners, np.float32), (178, 48)).tobytes())
    source.close()
    assert (scaled.hexdigest(), regions.hexdigest()) == (SCALED, CUT)


def test_frames_of_any_size_range_and_matrix_are_converted_to_the_bit_as_ever() -> None:
    random, made = np.random.default_rng(11), hashlib.sha256()
    for width, height in ((64, 48), (65, 49), (1281, 719), (320, 241), (1920, 1080)):
        for full_range, matrix in (
            (False, Matrix.BT601),
            (True, Matrix.BT601),
            (False, Matrix.BT709),
            (True, Matrix.BT709),
        ):
            half = ((height + 1) // 2, (width + 1) // 2)
            y, u, v = (random.integers(0, 256, size, np.uint8) for size in ((height, width), half, half))
            frame = Frame(Planes(y, u, v, full_range, matrix), PIXELS, "gate", media_time=0, captured_at=0)
            out = np.full((96, 160, 3), 9, np.uint8)
            scaled_into(frame, out)
            made.update(out.tobytes())
            made.update(whole(frame).tobytes())
            corners = [[-5.5, 3.2], [width * 0.6, -4.1], [width * 0.7, height * 0.5], [2.3, height * 0.55]]
            made.update(rectified(frame, np.array(corners, np.float32), (96, 32)).tobytes())
    assert made.hexdigest() == MADE_UP
