"""Executions of ONNX Runtime on memory as it lies: inputs bound by their address, on the host or on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from platoon.arrays import CUDA, HOST, Array, address, device_of

_MEMORIES: Final = {HOST[0]: "cpu", CUDA: "cuda"}
"""In ONNX Runtime's words."""
_TYPES: Final[Mapping[str, DTypeLike]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


class BoundSession:
    """A session with one input. Safe from as many threads as the session is.

    An input that lies in another memory than the session works in is copied there by ONNX Runtime. Outputs come to the
    host: straight into the array that the caller gets, where their shape follows from the input's.

    Args:
        session: an `onnxruntime.InferenceSession`.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        (self._input,) = session.get_inputs()
        self._outputs = session.get_outputs()

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """The outputs for `batch`, in memory of their own.

        Raises:
            ValueError: it lies on a device, and is not contiguous there.
        """
        batch = np.ascontiguousarray(batch) if isinstance(batch, np.ndarray) else batch
        binding = self._session.io_binding()
        kind, number = device_of(batch)
        shape, element = tuple(batch.shape), str(batch.dtype).rpartition(".")[2]
        binding.bind_input(self._input.name, _MEMORIES[kind], number, np.dtype(element), shape, address(batch))
        known = dict(zip(self._input.shape, shape, strict=True))
        rooms = [_room(output, known) for output in self._outputs]
        for output, room in zip(self._outputs, rooms, strict=True):
            if room is None:
                binding.bind_output(output.name, "cpu")
            else:
                binding.bind_output(output.name, "cpu", 0, room.dtype, room.shape, address(room))
        self._session.run_with_iobinding(binding)
        values = zip(rooms, binding.get_outputs(), strict=True)
        return tuple(value.numpy() if room is None else room for room, value in values)

    def close(self) -> None:
        """Give the memory back."""
        self._session = None


def _room(output: Any, known: Mapping[Any, int]) -> NDArray[Any] | None:
    """An array for an output, if its axes have a length of their own or that of an axis of the input."""
    lengths = [axis if isinstance(axis, int) else known.get(axis) for axis in output.shape if axis is not None]
    if None in lengths or len(lengths) < len(output.shape) or output.type not in _TYPES:
        return None
    return np.empty([length for length in lengths if length is not None], _TYPES[output.type])
