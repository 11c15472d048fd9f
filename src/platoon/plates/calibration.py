"""What a confidence means: from what the reader says of itself to the probability that the whole text is right.

The product of the characters' probabilities orders readings well, but its values are no frequencies: networks are too
sure of themselves. Two numbers put that right (Platt, 1999), fitted on readings whose truth is known by
`benchmarks.calibration`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Calibration:
    """A line through the log-odds; as it comes it changes nothing."""

    slope: float = 1.0
    """Below 1: what is said is too sure, both ways."""
    intercept: float = 0.0

    def calibrated(self, confidence: float) -> float:
        """The probability that a text of this confidence is right, both 0 to 1; the order of texts stays as it is."""
        return 1 / (1 + math.exp(-(self.slope * log_odds(confidence) + self.intercept)))


def log_odds(confidence: float) -> float:
    """ln(p / (1 - p)), of a p that is kept a millionth away from 0 and 1."""
    kept = min(max(confidence, _LEAST), 1 - _LEAST)
    return math.log(kept / (1 - kept))
