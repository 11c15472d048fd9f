"""Tells callers' webhooks that a job has ended: signed, tried again, and only at addresses that may be fetched from.

What is to be told is kept with the job, so it survives a restart; a webhook may hear twice of a job, never not at all
while it answers within the attempts there are. The signature is HMAC-SHA256 with the secret of the settings over
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
from typing import Any, Final, Self

from platoon.api.fetch import Fetcher
from platoon.documents.jobs import Job, Jobs
from platoon.errors import PlatoonError

SIGNATURE: Final = "X-Platoon-Signature"
_LOOK_S: Final = 1.0

_log = logging.getLogger(__name__)


class Webhooks:
    """Tells webhooks from a thread of its own, between `__enter__` and `__exit__`."""

    def __init__(self, jobs: Jobs, fetcher: Fetcher, secret: str) -> None:
        self._jobs, self._fetcher, self._secret = jobs, fetcher, secret
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                job = self._jobs.due_webhook()
                if job is not None:
                    asyncio.run(self._tell(job))
                    continue
            except PlatoonError as error:
                _log.warning("webhooks are not told: %s", error)
            except Exception:
                _log.exception("a webhook was not told")
            self._stopping.wait(_LOOK_S)

    async def _tell(self, job: Job) -> None:
        assert job.order.webhook is not None
        body = json.dumps(message(job), ensure_ascii=False).encode()
        headers = [("Content-Type", "application/json"), (SIGNATURE, sign(body, self._secret, int(time.time())))]
        try:
            await self._fetcher.post(job.order.webhook, body, headers)
        except PlatoonError as error:
            _log.warning("the webhook of job %s was not told: %s", job.id, error)
            return
        self._jobs.told(job.id)


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
