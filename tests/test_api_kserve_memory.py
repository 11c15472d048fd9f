"""What bodies of the inference protocol take of the server's memory, in a process of its own, without its clients."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
from platoon.api.kserve.messages import SERVICE, message  # noqa: E402  only once it is known to be there

SHAPE = (10, 500, 1000, 3)
BODY = 16_000_000
WAITING = 8 * BODY
PATIENCE_S = 60


class Process:
    """The server."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.http, self.grpc = self._read()

    def _read(self) -> list[int]:
        assert self._process.stdout is not None
        return [int(number) for number in self._process.stdout.readline().split()]

    def memory(self, after: str = "") -> tuple[int, int]:
        """Bytes that it holds, and the most that it has held."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{after}\n")
        self._process.stdin.flush()
        now, most = self._read()
        return now, most


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline


@pytest.fixture
def process() -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.kserve_process", str(BODY), str(WAITING)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Process(process)
        finally:
            process.kill()


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def calling(process: Process, protocol: str, model: str, *, damaged: bool = False) -> Iterator["Future[Any]"]:
    """A call with a large body; it is cancelled if it is not done in the end."""
    tensor: dict[str, Any] = {"name": "pixels", "datatype": "UINT8", "shape": SHAPE}
    pixels = bytes(int(np.prod(SHAPE)) - damaged)
    if protocol == "grpc":
        request = message("ModelInferRequest")(model_name=model, inputs=[tensor], raw_input_contents=[pixels])
        options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{process.grpc}", options=options) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer").future(request.SerializeToString())
            try:
                yield call
            finally:
                call.cancel()
        return
    tensor["parameters"] = {"binary_data_size": len(pixels)}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    address = f"http://127.0.0.1:{process.http}/v2/models/{model}/infer"
    with ThreadPoolExecutor(1) as pool, httpx.Client(timeout=PATIENCE_S) as client:
        yield pool.submit(client.post, address, content=head + pixels, headers=headers)


def ended(call: "Future[Any]") -> str:
    """How a call ends."""
    try:
        answer = call.result(PATIENCE_S)
    except grpc.RpcError as error:
        return str(error.code().name)
    return str(answer.status_code) if isinstance(answer, httpx.Response) else "OK"


@pytest.mark.parametrize(
    ("model", "damaged", "end"),
    [
        ("at-once", False, ("OK", "200")),
        ("at-once", True, ("INVALID_ARGUMENT", "400")),
        ("failing", False, ("UNAVAILABLE", "503")),
        ("missing", False, ("NOT_FOUND", "404")),
    ],
)
def test_nothing_of_a_call_stays_once_it_has_ended(
    process: Process, protocol: str, model: str, *, damaged: bool, end: tuple[str, str]
) -> None:
    def call() -> None:
        with calling(process, protocol, model, damaged=damaged) as answer:
            assert ended(answer) in end

    for _ in range(4):  # so that what is kept free, and loaded, is there
        call()
    before, _ = process.memory()
    for _ in range(12):
        call()
    until(lambda: process.memory()[0] < before + 4 * BODY)


def test_nothing_of_a_call_stays_whose_caller_left(process: Process) -> None:
    before, _ = process.memory()
    for _ in range(8):
        with calling(process, "grpc", "held"):
            process.memory("asked")
    process.memory("free")
    until(lambda: process.memory()[0] < before + 6 * BODY)


def test_many_large_bodies_take_little_more_memory_than_may_be_under_way(process: Process, protocol: str) -> None:
    def call(model: str = "held") -> str:
        with calling(process, protocol, model) as answer:
            return ended(answer)

    call("missing")  # so that what the first needs is there
    before, _ = process.memory()
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(call) for _ in range(16)]
        for _ in range(8):
            process.memory("asked")
        while sum(one.done() for one in calls) < 8:
            wait([one for one in calls if not one.done()], PATIENCE_S, FIRST_COMPLETED)
        refused = {one.result() for one in calls if one.done()}
        _, most = process.memory("free")
    assert refused <= {"RESOURCE_EXHAUSTED", "429"}
    assert {one.result() for one in calls} - refused <= {"OK", "200"}
    assert most - before < (2.2 if protocol == "grpc" else 1.4) * WAITING


def test_numbers_written_out_count_as_what_they_become(process: Process) -> None:
    """Two million in one body is more than all bodies may take together; they would fit as they were sent."""
    numbers = ",".join(["0"] * 2_000_000)
    tensor = f'{{"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [{numbers}]}}'
    address = f"http://127.0.0.1:{process.http}/v2/models/at-once/infer"
    before, _ = process.memory()
    answer = httpx.post(address, content=f'{{"inputs": [{tensor}]}}', timeout=PATIENCE_S)
    assert answer.status_code == 429
    assert process.memory()[1] - before < 3 * len(numbers)
