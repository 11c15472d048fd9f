import os
import subprocess
import sys

import pytest

ARENAS = """
import ctypes, os, sys, threading
from platoon.allocator import bound_memory
if "bound" in sys.argv: bound_memory()
together = threading.Barrier(int(sys.argv[1]))
def allocate():
    kept = [bytes(50_000) for _ in range(50)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(together.parties)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
read_end, write_end = os.pipe()
out = ctypes.c_void_p(libc.fdopen(write_end, b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
print(os.read(read_end, 65536).count(b"<heap nr="), os.environ.get("MALLOC_ARENA_MAX"))
"""

CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
BOUND = max(2, CORES)


def arenas(*words: str, **variables: str) -> list[str]:
    """How many of them so many threads got, and what children will be given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", ARENAS, str(3 * BOUND), *words]
    return subprocess.run(command, env=plain | variables, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(sys.platform != "linux" or not os.confstr("CS_GNU_LIBC_VERSION"), reason="not glibc's allocator")
def test_many_threads_share_as_many_arenas_as_there_are_cores_unless_the_environment_says_otherwise() -> None:
    unbound, bound, said = arenas(), arenas("bound"), arenas("bound", MALLOC_ARENA_MAX=str(BOUND + 1))
    assert int(unbound[0]) > BOUND + 1
    assert bound == [str(BOUND), str(BOUND)]
    assert said == [str(BOUND + 1), str(BOUND + 1)]
