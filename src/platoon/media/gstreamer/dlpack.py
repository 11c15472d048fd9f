"""Memory of others as arrays that speak DLPack (https://dmlc.github.io/dlpack), wherever it lies."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

HOST: Final = 1
CUDA: Final = 2
CUDA_PINNED: Final = 3
"""Kinds of memory, as DLPack numbers them."""


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _ManagedTensor(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


_exported: dict[int, tuple[object, ...]] = {}
"""What must live until its taker calls the deleter, by the address of the managed tensor."""


def _forget(address: int) -> None:
    _exported.pop(address, None)


_release = _Deleter(_forget)

_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_new_capsule.restype = ctypes.py_object


class Memory:
    """Bytes at an address, as an array of uint8.

    Args:
        address: of the first element.
        strides: distances in bytes, one for each axis.
        device: (kind, number), as DLPack has it.
        owner: kept alive as long as anybody has the array.
    """

    def __init__(
        self, address: int, shape: Sequence[int], strides: Sequence[int], *, device: tuple[int, int], owner: object
    ) -> None:
        self.shape = tuple(shape)
        self._address, self._strides, self._device, self._owner = address, tuple(strides), device, owner

    def __dlpack__(self, *, stream: object = None, **_: object) -> Any:
        """A capsule for one taker, who must take it: what was exported lives until its deleter is called."""
        del stream  # whoever wrote the memory has finished
        axes = ctypes.c_int64 * len(self.shape)
        shape, strides = axes(*self.shape), axes(*self._strides)
        kind, number = self._device
        tensor = _Tensor(self._address, kind, number, len(self.shape), 1, 8, 1, shape, strides, 0)
        managed = _ManagedTensor(tensor, None, _release)
        address = ctypes.addressof(managed)
        _exported[address] = (managed, shape, strides, self._owner)
        return _new_capsule(address, b"dltensor", None)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Where it lies."""
        return self._device
