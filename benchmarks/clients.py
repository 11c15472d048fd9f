"""Clients of the OCR service that cost little themselves: whole requests made beforehand, connections kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

BOUNDARY = "pictures-of-plates-and-pages"


def request(path: str, pictures: Sequence[bytes], **fields: str) -> bytes:
    """A `POST` of a form with pictures as `image`, or several as `images`, ready to be sent."""
    name = "image" if path == "/ocr" else "images"
    body = b""
    for field_name, value in fields.items():
        body += _part(f'name="{field_name}"', value.encode())
    for number, picture in enumerate(pictures):
        body += _part(f'name="{name}"; filename="{number}.png"', picture)
    body += f"--{BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _part(disposition: str, content: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"


class Client:
    """One connection to a service, as an asynchronous context."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def send(self, data: bytes) -> None:
        """A request whose answer nobody waits for."""
        self._writer.write(data)

    async def ask(self, data: bytes) -> tuple[int, bytes]:
        """The status and the body of the answer to a request."""
        self.send(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return status, await self._reader.readexactly(int(lengths[0].partition(b":")[2]))


@dataclass
class Answers:
    """What several clients got."""

    latencies_s: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    lost: int = 0
    """Requests that got no answer."""


async def keep_asking(
    port: int,
    requests: Sequence[bytes],
    *,
    clients: int,
    until: float,
    judge: Callable[[int, int, bytes], None] | None = None,
) -> Answers:
    """So many clients send one request after the other until a point of `time.monotonic()`.

    Args:
        judge: is shown the number of the request in `requests`, the status and the body.
    """
    answers = Answers()

    async def one(first: int) -> None:
        async with Client(port) as client:
            number = first
            while (begun := time.monotonic()) < until:
                try:
                    status, body = await client.ask(requests[number % len(requests)])
                except (OSError, asyncio.IncompleteReadError):
                    answers.lost += 1
                    return
                answers.latencies_s.append(time.monotonic() - begun)
                answers.statuses[status] = answers.statuses.get(status, 0) + 1
                if judge is not None:
                    judge(number % len(requests), status, body)
                number += clients

    await asyncio.gather(*(one(n) for n in range(clients)))
    return answers


def percentiles_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    """`{p50, p99}` in milliseconds."""
    p50, p99 = np.percentile(latencies_s, (50, 99))
    return {"p50": 1e3 * float(p50), "p99": 1e3 * float(p99)}
