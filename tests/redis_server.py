"""A real Redis for tests, on a port of its own, that can be ended and started anew."""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.absent import absent
from tests.running import free_ports, wait_until


def redis_program() -> str:
    """Where Redis is; the test is skipped where there is none, unless everything has to be there."""
    found = shutil.which("redis-server")
    if found is None:
        absent("no redis-server; `make system-packages` installs it")
    return found


class RedisServer:
    """A Redis.

    Args:
        durable: it keeps what is written on the disk, as one does that has jobs to keep.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [redis_program(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self._command += ["--save", "", *(("--appendonly", "yes", "--appendfsync", "always") if durable else ())]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Begin to answer, with what is on the disk."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, "Redis answers", patience_s=60)

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """Empty it."""
        client = redis.Redis(port=self.port)
        client.flushall()
        client.close()

    def _answers(self) -> bool:
        client = redis.Redis(port=self.port)
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()
