"""How glibc's allocator shares memory among threads, for processes that run for months.

It gives threads arenas of their own, up to eight for each core, and what is freed in one serves no thread of another. A
site has some ninety threads, in which pages, frames and tensors of megabytes come and go: a third of its heap was free,
and its memory grew by 18 MB a minute as ever more of that was touched. With as many arenas as cores a quarter
of that is free, for the same processor time (`docs/operate.md` has the figures).

It also learns from large blocks that are freed to keep such blocks, up to 32 MB each, in the heap, where a small one
above them keeps their memory from the system. Pages and batches stay blocks of their own here.
"""

import ctypes
import os
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1  # these three of glibc's malloc.h
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_VARIABLE: Final = "MALLOC_ARENA_MAX"
_FEWEST: Final = 2
_OWN_BLOCK_BYTES: Final = 4 * 2**20
"""Larger ones go back to the system when they are freed: pictures of pages do, the planes of most cameras do not."""
_KEPT_BYTES: Final = 8 * 2**20
"""So much that is free may be kept at the end of the heap."""


def bound_memory() -> None:
    """Let this process, and those that it starts, have no more arenas than cores, and give large blocks back; to be
    called before threads start.

    Whoever has said something else in the environment is obeyed. Where the allocator is not glibc's, nothing happens.
    """
    if sys.platform != "linux" or _VARIABLE in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    most = max(_FEWEST, len(os.sched_getaffinity(0)))
    os.environ[_VARIABLE] = str(most)  # read when a process starts: for the others
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, most)
        mallopt(_M_MMAP_THRESHOLD, _OWN_BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
