"""Which models are served and how tensors become answers, whatever brings them.

They are the engine's own: each item of a request joins the batches of everybody else, and no second copy is loaded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from platoon.engine.batcher import Priority, Reply
from platoon.engine.signature import Signature, signature
from platoon.errors import InvalidInput, NotFound, PlatoonError, TooLarge
from platoon.media.frame import Pixels
from platoon.ocr.engine import TextEngine
from platoon.ocr.served import PLATE_RECOGNITION, TEXT_DETECTION, TEXT_RECOGNITION, served
from platoon.settings import EngineSettings

VERSION: Final = "1"
EXTENSIONS: Final = ("binary_tensor_data", "model_configuration", "parameters")
PLATFORM: Final = "platoon"
MAX_ITEMS: Final = 256
"""In one request."""
MAX_ITEM_PIXELS: Final = 4_194_304
"""The maps of larger pictures take gigabytes on the way."""

Submit = Callable[..., Sequence[Reply[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """What one request asks for."""

    pixels: Pixels
    """(N, H, W, 3) uint8, RGB."""
    outputs: tuple[str, ...]
    """Names of the wanted ones, in order."""
    priority: Priority
    deadline: float
    """A point of `time.monotonic()`."""


class ServedModel:
    """One model. What is said about it is found when first asked for, which may take a second."""

    def __init__(
        self,
        name: str,
        submit: Submit,
        outputs_of: Callable[[Any], Sequence[NDArray[Any]]],
        settings: EngineSettings | None = None,
    ) -> None:
        self.name = name
        self._submit, self._outputs_of, self._settings = submit, outputs_of, settings

    @property
    def signature(self) -> Signature:
        """Its tensors."""
        return self._facts[0]

    @property
    def parameters(self) -> Mapping[str, str]:
        """What clients must know: its `digest`, and for recognition the `alphabet`."""
        return self._facts[1]

    @cached_property
    def _facts(self) -> tuple[Signature, Mapping[str, str]]:
        graph, parameters = served(self.name, self._settings)
        return signature(graph), {"digest": graph.digest, **parameters}

    def check_input(self, name: str, datatype: str, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape, if a tensor that declares this can be this model's input.

        Raises:
            InvalidInput: it cannot. TooLarge: there are too many items, or too many pixels in one.
        """
        spec = self.signature.input
        if (name, datatype) != (spec.name, spec.datatype):
            raise InvalidInput(f"input {name!r} is {datatype}; {self.name} takes {spec.name!r} as {spec.datatype}")
        fits = len(shape) == len(spec.shape) and all(
            length > 0 and wanted in (-1, length) for length, wanted in zip(shape, spec.shape, strict=True)
        )
        if not fits:
            raise InvalidInput(f"input {name!r} of {self.name} is {list(spec.shape)}, got {list(shape)}")
        if shape[0] > MAX_ITEMS:
            raise TooLarge(f"input {name!r} has {shape[0]} items, more than {MAX_ITEMS}")
        if shape[1] * shape[2] > MAX_ITEM_PIXELS:
            raise TooLarge(f"input {name!r} has {shape[1]}x{shape[2]} pixels an item, more than {MAX_ITEM_PIXELS}")
        return tuple(shape)

    def request(
        self, pixels: Pixels, outputs: Sequence[str], parameters: Mapping[str, Any], *, longest_s: float
    ) -> Inference:
        """The request for `outputs` (none: all) with the protocol's parameters `priority` and `timeout` (µs).

        Raises:
            InvalidInput: there is no such output, or a parameter is no number.
        """
        known = tuple(spec.name for spec in self.signature.outputs)
        if unknown := set(outputs) - set(known):
            raise InvalidInput(f"{self.name} has no output {', '.join(sorted(unknown))}; it has {', '.join(known)}")
        numbers = {name: parameters.get(name, 0) for name in ("priority", "timeout")}
        for name, value in numbers.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise InvalidInput(f"parameter {name!r} is {value!r}, not a whole number from 0 on")
        # Triton's priorities: 1 is the highest, 0 whatever the server thinks right. None goes before cameras.
        levels = (Priority.CALL, Priority.CALL, Priority.BATCH, Priority.BULK)
        # Compared as a whole number: what JSON may hold is more than a float can.
        allowed_s = min(numbers["timeout"], longest_s * 1e6) / 1e6 or longest_s
        return Inference(
            pixels=pixels,
            outputs=tuple(outputs) or known,
            priority=levels[min(numbers["priority"], len(levels) - 1)],
            deadline=time.monotonic() + allowed_s,
        )

    async def infer(self, request: Inference) -> dict[str, NDArray[Any]]:
        """The outputs by name. When the caller goes (is cancelled), what still waits is dropped.

        Raises:
            InvalidInput: the model cannot take such pixels.
            Overloaded, DeadlineExceeded, Unavailable: see `Batcher.submit`.
        """
        # In a thread, as the first submission loads the model.
        replies = list(await asyncio.to_thread(self._queue, request))
        try:
            answers = await asyncio.gather(*map(asyncio.wrap_future, replies))
        finally:
            # The error of one keeps this frame: it would keep itself, with the pixels, if that kept the replies.
            while replies:
                replies.pop().cancel()
        columns = zip(*map(self._outputs_of, answers), strict=True)
        outputs = {spec.name: np.stack(column) for spec, column in zip(self.signature.outputs, columns, strict=True)}
        return {name: outputs[name] for name in request.outputs}

    def _queue(self, request: Inference) -> Sequence[Reply[Any]]:
        try:
            return self._submit(request.pixels, priority=request.priority, deadline=request.deadline)
        except PlatoonError:
            raise
        except ValueError as error:
            raise InvalidInput(error) from error


class ServedModels:
    """The models of `engine` by name.

    Args:
        settings: name the files of models that are a site's own; none: there are no such.
        not_ready: what is not ready yet, in words; nothing once all is.
    """

    def __init__(
        self,
        engine: TextEngine,
        settings: EngineSettings | None = None,
        *,
        not_ready: Callable[[], Sequence[str]],
    ) -> None:
        def read_plates(lines: Pixels, **options: Any) -> Sequence[Reply[Any]]:
            return engine.read_steps(lines, plates=True, **options)

        def read_lines(lines: Pixels, **options: Any) -> Sequence[Reply[Any]]:
            return engine.read_steps(lines, plates=False, **options)

        def with_channel(text_map: NDArray[np.float32]) -> Sequence[NDArray[Any]]:
            return (text_map[None],)

        self._models = {
            TEXT_DETECTION: ServedModel(TEXT_DETECTION, engine.detect, with_channel, settings),
            PLATE_RECOGNITION: ServedModel(PLATE_RECOGNITION, read_plates, tuple, settings),
            TEXT_RECOGNITION: ServedModel(TEXT_RECOGNITION, read_lines, tuple, settings),
        }
        self.not_ready = not_ready

    def find(self, name: str, version: str = "") -> ServedModel:
        """The model called `name`. Raises NotFound where there is none, or not in this version."""
        if name not in self._models or version not in ("", VERSION):
            of_version = f" of version {version}" if version else ""
            raise NotFound(f"there is no model {name!r}{of_version}; there are {', '.join(self._models)}")
        return self._models[name]
