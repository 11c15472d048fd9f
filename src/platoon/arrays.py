"""Arrays that may lie in the memory of a device: all that who has pixels and who executes models know of each other's.

An array is whatever speaks DLPack (https://dmlc.github.io/dlpack): numpy's on the CPU, PyTorch's there or on a GPU.
PyTorch is an extra, imported only where one of its arrays came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

Device = tuple[int, int]
"""DLPack's kind of memory, and the number of the device that has it."""
HOST: Final[Device] = (1, 0)
CUDA: Final = 2
"""The kind of an NVIDIA GPU's memory."""


class Array(Protocol):
    """Elements of one type in the memory of one device."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def dtype(self) -> Any:
        """Of the elements, in the words of the library that it is of."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def __getitem__(self, part: Any, /) -> Any: ...

    def __dlpack__(self, *, stream: Any = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


def device_of(array: Array) -> Device:
    """Where the elements lie."""
    kind, number = array.__dlpack_device__()
    return int(kind), int(number)


def is_uint8(array: Array) -> bool:
    """Whether its elements are bytes, whatever its library calls them."""
    return str(array.dtype).rpartition(".")[2] == "uint8"


def on_host(array: Array) -> NDArray[Any]:
    """The same as an array of numpy: itself, a view of its memory, or, from another device, a copy."""
    if isinstance(array, np.ndarray):
        return array
    return np.from_dlpack(array if device_of(array) == HOST else _tensor(array).cpu())


def stacked(items: Sequence[Array]) -> Array:
    """Arrays of one shape on one device as one batch (N, ...), contiguous there and written when this returns."""
    if all(isinstance(item, np.ndarray) for item in items):
        return np.ascontiguousarray(items[0])[None] if len(items) == 1 else np.stack(items)  # type: ignore[arg-type]
    import torch

    batch = torch.stack([_tensor(item) for item in items])
    if batch.is_cuda:  # whoever takes it works on a stream of its own
        torch.cuda.current_stream(batch.device).synchronize()
    return batch  # type: ignore[no-any-return]


def address(array: Array) -> int:
    """Where its first element is in the memory of its device.

    Raises:
        ValueError: its elements do not lie there one after the other.
    """
    contiguous = array.flags.c_contiguous if isinstance(array, np.ndarray) else _tensor(array).is_contiguous()
    if not contiguous:
        raise ValueError(f"expected a contiguous array, got a view of shape {tuple(array.shape)}")
    return int(array.ctypes.data if isinstance(array, np.ndarray) else _tensor(array).data_ptr())


def _tensor(array: Array) -> Any:
    import torch

    return array if isinstance(array, torch.Tensor) else torch.from_dlpack(array)
