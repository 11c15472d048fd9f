"""What a line of text says: crops in, characters with their alternatives out.

A crop's input is a function of the crop alone, and only inputs of equal width share a batch, so the same crop
gives the same text alone and in any company. Finding lines is left to detection, and rules about what a text
may be to those who know them: they get the alternatives of every character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array, is_uint8
from platoon.engine.batched import BatchedModel
from platoon.engine.batcher import Priority, Reply
from platoon.engine.executor import ShapeProfile
from platoon.engine.gate import Gates
from platoon.engine.model import Model, metadata, text_recognition
from platoon.engine.runtime import ModelReport
from platoon.engine.surgery import (
    Adaptation,
    ExpectOutput,
    Graph,
    KeepClasses,
    NameOutputs,
    PixelInput,
    TopClasses,
    adapt,
)
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError
from platoon.media.pixels import resized, widened
from platoon.metrics import Metrics
from platoon.ocr.exported import NAME as EXPORTED
from platoon.ocr.exported import exported
from platoon.settings import EngineSettings

HEIGHT = 48
MAX_WIDTH = 3200
"""Lines longer than this at `HEIGHT` are squeezed, as in PaddleX."""
PADDING = 127
"""Right of a narrow line. The weights know 0 after normalisation, which lies between 127 and 128: all of 153
plates read the same with either and with 0."""

MIN_WIDTH = 320
"""Inputs are at least so wide. Shorter ones cost less but are read worse: of 153 plates 126 were right at
320, 120 at 256 and 160 (132, 126 and 123 with O = 0 and I = 1), for 21, 17 and 12 ms of processor time each.

All are read in bfloat16 where the processor has it. Of 153 crops of plates 118 were right then, 116 in float32 (126 and
124 with O = 0 and I = 1), for 11 instead of 20 ms; of four pages in four fonts, 7,407 characters, 9 were wrong either
way, for 14 instead of 18 s."""

INPUT = PixelInput(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), bgr=True)
"""As PaddleOCR. Of 153 plates 126 were read right, 123 with the channels as RGB."""

PLATE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
"""The alphabet of licence plates."""

ALTERNATIVES = 4


class Candidate(NamedTuple):
    """A character that may stand at a position."""

    character: str
    probability: float


@dataclass(frozen=True, slots=True)
class TextLine:
    """What was read from one crop."""

    text: str
    confidence: float
    """Mean probability of the characters, 0 to 1; 0 without any."""
    weakest: float
    """Probability of the least certain character."""
    characters: tuple[tuple[Candidate, ...], ...]
    """For each character of the text up to four candidates, best first: the first is the one in the text."""
    positions: tuple[float, ...] = ()
    """Where the middle of each character is: 0 at the left of the model's input, 1 at its right; see `width_of`."""


def line_of(characters: Iterable[tuple[Candidate, ...]], *, positions: Sequence[float] = ()) -> TextLine:
    """The text of the likeliest characters."""
    characters = tuple(characters)
    sure = [candidates[0].probability for candidates in characters]
    return TextLine(
        text="".join(candidates[0].character for candidates in characters),
        confidence=sum(sure) / len(sure) if sure else 0.0,
        weakest=min(sure, default=0.0),
        characters=characters,
        positions=tuple(positions),
    )


class CtcTopK(NamedTuple):
    """What the model says of a line, step by step from left to right."""

    ids: NDArray[np.int32]
    """(T, k): the likeliest classes, best first; class 0 is the CTC blank."""
    scores: NDArray[np.float32]
    """(T, k): their probabilities."""


class _Input(NamedTuple):
    line: Array
    answer: Callable[[NDArray[np.int32], NDArray[np.float32]], Any]
    """What its caller wants to be made of the model's output."""


class Recogniser:
    """Line recognition behind its batcher; safe from any thread.

    Args:
        gates: see `BatchedModel`.
        alphabet: only these characters can be read, at less cost; none: all the model knows.
    """

    def __init__(
        self,
        settings: EngineSettings,
        tuning: Tuning,
        metrics: Metrics,
        gates: Gates,
        *,
        alphabet: str | None = None,
    ) -> None:
        graph, self.characters = recognition_graph(alphabet, settings.text_recognition)
        item, most = (HEIGHT, MIN_WIDTH, 3), settings.max_batch
        self._model: BatchedModel[_Input, Any] = BatchedModel(
            graph,
            settings,
            tuning,
            metrics,
            gates,
            item=item,
            pixels=lambda entry: entry.line,
            results=lambda entries, outputs: [
                entry.answer(*steps) for entry, *steps in zip(entries, *outputs, strict=True)
            ],
            allow_bf16=True,
            profile=ShapeProfile((1, *item), (most, *item), (most, HEIGHT, MAX_WIDTH, 3)),
        )

    def submit(
        self, crops: Sequence[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[TextLine]]:
        """Queue lines of text to be read.

        Args:
            crops: (h, w, 3) uint8 RGB each, of any size.
            priority: against other callers.
            deadline: a point of `time.monotonic()`.

        Raises:
            Overloaded, Unavailable: see `Batcher.submit`; crops already queued are cancelled.
        """
        text = partial(decode, alphabet=self.characters)
        return self._model.submit(
            (_Input(fit_line(crop), text) for crop in crops), priority=priority, deadline=deadline
        )

    def submit_lines(
        self, lines: Iterable[Array], *, priority: Priority = Priority.VIDEO, deadline: float | None = None
    ) -> list[Reply[CtcTopK]]:
        """Queue lines as `fit_line` makes them; each reply is what the model says of it, for `decode`.

        Raises:
            ValueError: a line is not uint8 (48, W, 3) with W a multiple of 32 up to 3200.
            Overloaded, Unavailable: as `submit`.
        """
        entries = (_Input(_checked(line), CtcTopK) for line in lines)
        return self._model.submit(entries, priority=priority, deadline=deadline)

    def report(self) -> ModelReport:
        """How the model runs here, measured now: nobody may use it meanwhile."""
        return self._model.report()

    def close(self) -> None:
        """Finish what waits and free the model."""
        self._model.close()


def recognition_graph(alphabet: str | None = None, path: Path | None = None) -> tuple[Graph, Sequence[str]]:
    """Lines in, `ids` and `scores` of the likeliest classes at each step out; and the character of each class.

    Args:
        alphabet: only these characters; none: all that the model knows.
        path: a PP-OCR model for it, as an ONNX file or in Paddle's form; none, or where it does not know all of
            `alphabet`: the weights that come with Platoon.

    Raises:
        ModelError: see `text_recognition`; the model at `path` is none, or one for something else, or nothing says
            which characters its classes are. ValueError: the model cannot read all of `alphabet`.
    """
    model, known, changes = _own_weights() if path is None else _weights_at(path)
    if alphabet is not None and path is not None and not set(alphabet) <= set(known):
        model, known, changes = _own_weights()
    if alphabet is not None:
        unknown = set(alphabet) - set(known)
        if unknown:
            raise ValueError(f"model {model.name} cannot read {''.join(sorted(unknown))!r}")
        kept = (0, *(index for index, character in enumerate(known) if character and character in alphabet))
        known = [known[index] for index in kept]
        changes.append(KeepClasses(kept))
    changes += [TopClasses(min(ALTERNATIVES + 1, len(known))), NameOutputs(("ids", "scores"))]
    return adapt(model, *changes, name="text-recognition" if alphabet is None else "plate-recognition"), known


def _own_weights() -> tuple[Model, list[str], list[Adaptation]]:
    """The model, the character of each class, and how pixels go in."""
    model = text_recognition()
    return model, ["", *metadata(model.load())["character"].split("\n"), " "], [INPUT]


def _weights_at(path: Path) -> tuple[Model, list[str], list[Adaptation]]:
    """The same of a user's model."""
    model = Model.from_path(path)
    export = exported(model, "CTCLabelDecode", INPUT)
    characters = export.characters
    if characters is None and model.parameters is None and "character" in (written := metadata(model.load())):
        characters = tuple(written["character"].split("\n"))
    if not characters:
        raise ModelError(
            f"nothing says which characters model {model.path} knows: put the {EXPORTED} beside it that PaddleOCR 3 "
            "exports with a model, with PostProcess.character_dict"
        )
    if export.height not in (None, HEIGHT):
        raise ModelError(f"model {model.path} reads lines {export.height} pixels high; Platoon gives it {HEIGHT}")
    # Models differ in whether they know the space, which no dictionary lists.
    classes = (len(characters) + 1, len(characters) + 2)
    expected = ExpectOutput(model.name, f"reads the {len(characters)} characters of its dictionary", ((), (), classes))
    return model, ["", *characters, " "], [expected, export.pixels or INPUT]


def _checked(line: Array) -> Array:
    fits = is_uint8(line) and len(line.shape) == 3 and line.shape[::2] == (HEIGHT, 3)
    if not fits or line.shape[1] % 32 or not 0 < line.shape[1] <= MAX_WIDTH:
        raise ValueError(
            f"expected uint8 ({HEIGHT}, W, 3) with W a multiple of 32 up to {MAX_WIDTH}, got {line.dtype} {line.shape}"
        )
    return line


def fit_line(crop: Array) -> Array:
    """The crop at `HEIGHT`, aspect kept, padded on the right to a multiple of 32 and at least `MIN_WIDTH`.

    Its width is rounded as RapidOCR rounds it: down, but up where that is narrower than `MIN_WIDTH`. Of 180 lines of
    pages 124 were read exactly right so, and 122 all rounded up.
    """
    height, width = crop.shape[:2]
    if not height or not width:
        raise ValueError(f"expected a crop with pixels, got {crop.shape = }")
    scaled, padded = width_of(height, width)
    return widened(resized(crop, (scaled, HEIGHT)), padded, PADDING)


def width_of(height: int, width: int) -> tuple[int, int]:
    """How many pixels of the model's input a crop of this size fills, and how many that input has."""
    scaled = HEIGHT * width // height
    if scaled < MIN_WIDTH:
        scaled = -(-HEIGHT * width // height)
    scaled = min(MAX_WIDTH, scaled)
    return scaled, max(MIN_WIDTH, -(-scaled // 32) * 32)


def decode(classes: NDArray[np.int32], scores: NDArray[np.float32], alphabet: Sequence[str]) -> TextLine:
    """The text of a CTC output by best path (Graves et al., ICML 2006): repeats merge, blanks part.

    Args:
        classes: (T, k) the likeliest classes at each step, best first; class 0 is the blank.
        scores: (T, k) their probabilities.
        alphabet: the character of each class.
    """
    best = classes[:, 0]
    starts = np.flatnonzero((best != 0) & (best != np.concatenate(([0], best[:-1]))))
    characters, positions = [], []
    for start in starts:
        end = start + 1
        while end < len(best) and best[end] == best[start]:
            end += 1
        peak = start + int(scores[start:end, 0].argmax())
        candidates = [
            Candidate(alphabet[index], float(score))
            for index, score in zip(classes[peak], scores[peak], strict=True)
            if index
        ]
        characters.append(tuple(candidates[:ALTERNATIVES]))
        positions.append(float(start + end) / 2 / len(best))
    return line_of(characters, positions=positions)
