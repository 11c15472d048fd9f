"""How glibc's allocator shares memory among threads, for processes that run for months.

It gives threads arenas of their own, up to eight for each core, and what is freed in one serves no thread of another. A
site has some ninety threads, in which pages, frames and tensors of megabytes come and go: a third of its heap was free,
and its memory grew by 18 MB a minute as ever more of that was touched. With as many arenas as cores a quarter
of that is free, for the same processor time (`docs/operate.md` has the figures).
"""

import ctypes
import os
import sys
from typing import Final

_M_ARENA_MAX: Final = -8  # of glibc's malloc.h
_VARIABLE: Final = "MALLOC_ARENA_MAX"
_FEWEST: Final = 2


def bound_arenas() -> None:
    """Let this process, and those that it starts, have no more arenas than cores; to be called before threads start.

    Whoever has said something else in the environment is obeyed. Where the allocator is not glibc's, nothing happens.
    """
    if sys.platform != "linux" or _VARIABLE in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    most = max(_FEWEST, len(os.sched_getaffinity(0)))
    os.environ[_VARIABLE] = str(most)  # read when a process starts: for the others
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_ARENA_MAX, most)
