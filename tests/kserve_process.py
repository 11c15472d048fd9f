"""`python -m tests.kserve_process MAX_BODY MAX_WAITING`: the inference protocol, over models that are made up.

It writes its ports, HTTP's and gRPC's. Then it answers each line that it reads with the bytes that it holds and the
most that it has held: after `asked` once the model `held` has been asked once more, after `free` once that may answer.
Nothing collects garbage, so what lies in a cycle stays.
"""

import gc
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import uvicorn
from fastapi import FastAPI

from platoon.allocator import bound_memory
from platoon.api import problems
from platoon.api.access import Access
from platoon.api.bodies import BodyLimit, WaitingBytes
from platoon.api.browser import Hosts
from platoon.api.guard import Doors, Guard
from platoon.api.intake import Intake
from platoon.api.kserve import rest
from platoon.api.kserve.models import ServedModel
from platoon.api.kserve.rpc import GrpcServer
from platoon.api.serve import bind
from platoon.engine.batcher import Reply
from platoon.engine.signature import Signature, TensorSpec
from platoon.errors import NotFound, Unavailable
from platoon.metrics import Metrics
from platoon.settings import ApiSettings, ServiceSettings


class Summing(ServedModel):
    """Sums each item up: at once, `held` when it may, and `failing` never."""

    _facts = (Signature(TensorSpec("pixels", "UINT8", (-1, -1, -1, 3)), (TensorSpec("sum", "INT64", (-1,)),)), {})

    def __init__(self, name: str) -> None:
        super().__init__(name, self._sums, lambda answer: (np.asarray(answer),))
        self.asked, self.may_answer = threading.Semaphore(0), threading.Event()

    def _sums(self, items: Any, **how: Any) -> Sequence[Reply[Any]]:
        del how
        replies = [Reply[Any]() for _ in items]
        threading.Thread(target=self._answer, args=(items, replies), daemon=True).start()
        self.asked.release()
        return replies

    def _answer(self, items: Any, replies: Sequence[Reply[Any]]) -> None:
        if self.name == "held":
            self.may_answer.wait()
        for item, reply in zip(items, replies, strict=True):
            if not reply.set_running_or_notify_cancel():
                continue
            if self.name == "failing":
                reply.set_exception(Unavailable("it fails"))
            else:
                reply.set_result(item.sum(dtype=np.int64))


def memory() -> Iterator[int]:
    """Bytes that are resident, and the most that were."""
    status = Path("/proc/self/status").read_text()
    for name in ("VmRSS:", "VmHWM:"):
        yield int(status.partition(name)[2].split()[0]) * 1024


def say(*numbers: int) -> None:
    """Write a line."""
    sys.stdout.write(f"{' '.join(map(str, numbers))}\n")
    sys.stdout.flush()


def main(max_body: int, max_waiting: int) -> None:
    bound_memory()
    gc.disable()
    models = {name: Summing(name) for name in ("at-once", "failing", "held")}

    def find(name: str, version: str = "") -> ServedModel:
        del version
        if name not in models:
            raise NotFound("there is no such model")
        return models[name]

    served = Mock(find=find, not_ready=list)
    settings = ServiceSettings(max_body_bytes=max_body, max_waiting_bytes=max_waiting, deadline_s=120)
    metrics, bodies = Metrics(), WaitingBytes(max_waiting)
    app = FastAPI()
    problems.install(app)
    doors = Doors(app)
    doors.add(rest.routes(served, Intake(settings, metrics, bodies=bodies), settings), "infer", rest.refuse)
    hosts = Hosts(ApiSettings(), settings)
    app.add_middleware(Guard, doors=doors, access=Access(settings), hosts=hosts, metrics=metrics)
    app.add_middleware(BodyLimit)
    bound = bind("127.0.0.1", 0, way_out="")
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False))
    threading.Thread(target=server.run, args=([bound],), daemon=True).start()
    with GrpcServer(served, settings, metrics, bodies=bodies, host="127.0.0.1", port=0) as face:
        say(bound.getsockname()[1], face.port)
        for line in sys.stdin:
            if line.strip() == "asked":
                models["held"].asked.acquire()
            if line.strip() == "free":
                models["held"].may_answer.set()
            say(*memory())
        models["held"].may_answer.set()
        server.should_exit = True


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
