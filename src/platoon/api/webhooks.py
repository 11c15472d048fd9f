"""Tells callers' webhooks that a job has ended: signed, tried again, and only at addresses that may be fetched from.

What is to be told is kept with the job, so it survives a restart; a webhook may hear twice of a job, never not at all
while it answers within the attempts there are. Many are told at once, but of one receiver and one key only some: who
answers slowly, or never, delays nobody else. The signature is HMAC-SHA256 with the secret of the settings over
`TIMESTAMP.BODY`, in `X-Platoon-Signature: t=TIMESTAMP,v1=HEX`: whoever checks it, and that the timestamp is recent,
knows that it comes from here and is not sent again by somebody else.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Final, Self

from platoon.api.fetch import Fetcher
from platoon.documents.jobs import Job, Jobs
from platoon.errors import PlatoonError

SIGNATURE: Final = "X-Platoon-Signature"
AT_ONCE: Final = 64
"""Webhooks that are told at the same time."""
AT_ONCE_OF_RECEIVER: Final = 2
AT_ONCE_OF_OWNER: Final = 16
_LOOK_S: Final = 1.0
_GRACE_S: Final = 2.0
"""For answers under way at a stop."""

_log = logging.getLogger(__name__)


class Webhooks:
    """Tells webhooks from a thread of its own, between `__enter__` and `__exit__`."""

    def __init__(self, jobs: Jobs, fetcher: Fetcher, secret: str) -> None:
        self._jobs, self._fetcher, self._secret = jobs, fetcher, secret
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name="webhooks", daemon=True)
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        loop, stop = self._started.result()
        loop.call_soon_threadsafe(stop.set)
        self._thread.join()

    def _work(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        stop = asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), stop))
        stopping = asyncio.create_task(stop.wait())
        telling: dict[asyncio.Task[None], Job] = {}
        while not stop.is_set():
            job = await self._next(telling) if len(telling) < AT_ONCE else None
            if job is not None:
                telling[asyncio.create_task(self._tell(job))] = job
                continue
            await asyncio.wait({stopping, *telling}, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            telling = {task: job for task, job in telling.items() if not task.done()}
        if telling:
            await asyncio.wait(telling, timeout=_GRACE_S)
        for task in telling:
            task.cancel()  # told once more after the next start
        await asyncio.gather(*telling, return_exceptions=True)

    async def _next(self, telling: Mapping[asyncio.Task[None], Job]) -> Job | None:
        """A job whose webhook is due, and neither its receiver nor its owner is told as much as may be."""
        receivers = Counter(job.order.receiver or "" for job in telling.values())
        owners = Counter(job.order.owner for job in telling.values())
        busy = [receiver for receiver, count in receivers.items() if count >= AT_ONCE_OF_RECEIVER]
        full = [owner for owner, count in owners.items() if count >= AT_ONCE_OF_OWNER]
        try:
            job = await asyncio.to_thread(self._jobs.due_webhook, busy, full)
        except Exception as error:
            if self._trouble != str(error):
                self._trouble = str(error)
                _log.warning("webhooks are not told: %s", error, exc_info=not isinstance(error, PlatoonError))
            return None
        self._trouble = ""
        return job

    async def _tell(self, job: Job) -> None:
        assert job.order.webhook is not None
        body = json.dumps(message(job), ensure_ascii=False).encode()
        headers = [("Content-Type", "application/json"), (SIGNATURE, sign(body, self._secret, int(time.time())))]
        try:
            await self._fetcher.post(job.order.webhook, body, headers)
            await asyncio.to_thread(self._jobs.told, job.id)
        except PlatoonError as error:
            _log.warning("the webhook of job %s was not told: %s", job.id, error)
        except Exception:
            _log.exception("the webhook of job %s was not told", job.id)


def message(job: Job) -> dict[str, Any]:
    """What a webhook is told."""
    return {
        "task_id": job.id,
        "status": job.state,
        "progress": {"pages": job.total, "done": job.done},
        "error": job.error,
    }


def sign(body: bytes, secret: str, timestamp: int) -> str:
    """The value of the header."""
    digest = hmac.digest(secret.encode(), b"%d.%s" % (timestamp, body), "sha256").hex()
    return f"t={timestamp},v1={digest}"
