"""Which pictures of a segment a model is shown, and how they are had."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from platoon.captions.payload import jpeg, shrunk
from platoon.media.frame import Pixels
from platoon.media.frame_index import Numbers
from platoon.media.picture_sampler import PictureSampler
from platoon.settings import CaptionSettings
from platoon.settings.captions import MOST_FRAMES

ROUNDING_S: Final = 1e-6


def chosen(times_s: NDArray[np.float64], start_s: float, end_s: float, settings: CaptionSettings) -> Numbers:
    """The pictures of a segment that the model is shown: one at each 1 / `fps` seconds from its start, or so many as
    the settings say, evenly; never more than servers take.

    Args:
        times_s: when each picture of the video is shown, ascending.
    """
    within = np.flatnonzero((times_s >= start_s - ROUNDING_S) & (times_s < end_s - ROUNDING_S))
    if not within.size:
        return within
    if settings.frames is None:
        wanted = np.arange(start_s, end_s - ROUNDING_S, 1 / settings.fps)
        found = np.searchsorted(times_s, wanted + ROUNDING_S, side="right") - 1
        numbers = np.unique(np.clip(found, within[0], within[-1]))
    else:
        numbers = within
    most = settings.frames or MOST_FRAMES
    if len(numbers) > most:
        numbers = numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.int64)]
    return numbers.astype(np.int64)


def shown(sampler: PictureSampler, numbers: Numbers, max_side: int) -> tuple[list[bytes], Pixels | None, list[str]]:
    """These pictures as JPEG files, none larger than `max_side`; the middle one, if there are any; and those that
    cannot be had, in words.
    """
    jpegs: list[bytes] = []
    missing: list[str] = []
    middle: Pixels | None = None
    for number, picture in sampler.pictures(numbers):
        if isinstance(picture, str):
            missing.append(f"{sampler.index.times_s[number]:.3f} s: {picture}")
            continue
        small = shrunk(picture, max_side)
        if middle is None or number <= numbers[len(numbers) // 2]:
            middle = small
        jpegs.append(jpeg(small))
    return jpegs, middle, missing
