"""Attacks on the gRPC server: what strangers send is not received, and what callers send is bounded together."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from platoon.api.bodies import WaitingBytes
from platoon.api.kserve.messages import SERVICE, joined, message, size_in_memory, split
from platoon.api.kserve.models import ServedModels
from platoon.api.kserve.rpc import GrpcServer
from platoon.errors import NotFound, Overloaded
from platoon.metrics import Metrics
from platoon.settings import ApiKey, ApiSettings, ServiceSettings

grpc = pytest.importorskip("grpc", reason="grpcio is not installed")

PATIENCE_S = 30
KEY = "the only key there is"
BODY = 4_000_000
NOT_LIMITED = [("grpc.max_send_message_length", -1)]


@contextmanager
def face(
    bodies: WaitingBytes | None = None,
    limits: ApiSettings | None = None,
    models: ServedModels | None = None,
    **settings: Any,
) -> Iterator[GrpcServer]:
    service = ServiceSettings(max_body_bytes=BODY, max_waiting_bytes=BODY * 2, **settings)
    models = models or ServedModels(Mock(), not_ready=list)
    with GrpcServer(models, service, Metrics(), bodies=bodies, limits=limits, host="127.0.0.1", port=0) as served:
        yield served


@pytest.fixture
def locked() -> Iterator[GrpcServer]:
    with face(keys=[ApiKey(name="ours", sha256=hashlib.sha256(KEY.encode()).hexdigest())]) as served:
        yield served


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def code(served: GrpcServer, sent: Any, *, method: str = "ModelInfer", key: str = "") -> str:
    """How a call ends."""
    metadata = [("x-api-key", key)] if key else []
    with grpc.insecure_channel(f"127.0.0.1:{served.port}", options=NOT_LIMITED) as channel:
        call = channel.stream_unary(f"/{SERVICE}/{method}")
        try:
            call(sent, metadata=metadata, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def tensor(size: int) -> bytes:
    found: bytes = message("ModelInferRequest")(model_name="no", raw_input_contents=[bytes(size)]).SerializeToString()
    return found


def test_nothing_is_received_of_who_has_no_key(locked: GrpcServer) -> None:
    payload = tensor(BODY - 1000)
    taken = 0

    def sent() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(50):
            taken += 1
            yield payload

    before = resident_bytes()
    for _ in range(24):
        assert code(locked, sent()) == "UNAUTHENTICATED"
    assert taken < 24 * 50
    assert resident_bytes() - before < 200_000_000, "24 of them took 4.4 GB"
    assert code(locked, iter([payload]), key=KEY) == "NOT_FOUND"


def test_what_is_under_way_is_counted_with_what_comes_over_http() -> None:
    bodies = WaitingBytes(BODY)
    with face(bodies) as served:
        bodies.take(BODY - 1_000_000)
        assert code(served, iter([tensor(2_000_000)])) == "RESOURCE_EXHAUSTED"
        assert code(served, iter([tensor(1000)])) == "NOT_FOUND"
        bodies.give(BODY - 1_000_000)
        assert code(served, iter([tensor(2_000_000)])) == "NOT_FOUND"

        def all_is_given_back() -> bool:
            with suppress(Overloaded):
                bodies.take(BODY)
                return True
            return False

        until(all_is_given_back)


def test_a_message_that_does_not_come_is_given_up() -> None:
    with face(deadline_s=0.3) as served, grpc.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        waiting = channel.stream_stream(f"/{SERVICE}/ModelInfer")
        opened = []
        for _ in range(4):  # more than may be received at once

            def nothing() -> Iterator[bytes]:
                time.sleep(PATIENCE_S)
                yield b""

            opened.append(waiting(nothing()))
        for call in opened:
            with pytest.raises(grpc.RpcError) as ended:
                next(call)
            assert ended.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert code(served, iter([tensor(10)])) == "NOT_FOUND"


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("ModelInfer", b"\x2a\x00" * 1_000_000),
        ("ModelInfer", b"\x3a\x00" * 1_000_000),
        ("ModelInfer", b"\x78\x00" * 1_000_000),
        ("ModelInfer", b"\xff" * 1_000),
        ("ModelInfer", b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("ModelInfer", b"\x0b" * 100),
        ("ModelInfer", message("ModelInferRequest")(id="x" * 3_999_000).SerializeToString() + b"\x1a\x00" * 500),
        ("ModelReady", message("ModelReadyRequest")(name="x" * 100_000).SerializeToString()),
        ("ServerLive", b"\x0a\xff"),
    ],
)
def test_a_message_of_few_bytes_and_many_objects_is_refused(name: str, sent: bytes) -> None:
    before = resident_bytes()
    with face() as served:
        assert code(served, iter([sent]), method=name) in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")
        assert code(served, iter([b""]), method="ServerLive") == "OK"
    assert resident_bytes() - before < 100_000_000


def test_tensors_stay_where_they_lie_and_what_is_parsed_is_known_to_be_small() -> None:
    assert split(b"") == ([], b"")
    made = message("ModelInferRequest")(
        model_name="m", inputs=[{"name": "x", "shape": [1, 2]}], id="i", raw_input_contents=[b"first", bytes(300)]
    )
    raw = made.SerializeToString()
    tensors, structure = split(raw)
    assert [bytes(tensor) for tensor in tensors] == list(made.raw_input_contents)
    assert all(tensor.obj is raw for tensor in tensors)
    del made.raw_input_contents[:]
    assert message("ModelInferRequest").FromString(structure) == made
    assert size_in_memory(structure) >= 50 * len(structure)
    with pytest.raises(ValueError, match="cut short"):
        split(raw[:-1])


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_an_answer_is_what_protobuf_makes_of_it(length: int) -> None:
    rng = np.random.default_rng(length)
    tensors = [rng.integers(0, 256, (length, 2), np.uint8)[:, 0], rng.random((1, 3), np.float32)]
    answer = message("ModelInferResponse")(model_name="m", outputs=[{"name": "x", "shape": [1, 2]}])
    sent = joined(answer, tensors)
    answer.raw_output_contents.extend(tensor.tobytes() for tensor in tensors)
    assert message("ModelInferResponse").FromString(sent) == answer


def test_an_unpacked_message_is_bounded_like_any_other() -> None:
    with face() as served:
        address = f"127.0.0.1:{served.port}"
        with grpc.insecure_channel(address, options=NOT_LIMITED, compression=grpc.Compression.Gzip) as channel:
            call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
            with pytest.raises(grpc.RpcError) as ended:
                call(bytes(100_000_000), timeout=PATIENCE_S)
            assert ended.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_connections_are_bounded_and_those_that_say_nothing_are_closed() -> None:
    limits = ApiSettings(max_connections=8, stall_timeout_s=1.0, idle_timeout_s=1.0)
    with face(limits=limits) as served, ExitStack() as stack:
        wires = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(20)]
        for wire in wires:
            wire.settimeout(PATIENCE_S)
            while wire.recv(4096):
                pass  # until it is closed
        assert code(served, iter([b""]), method="ServerLive") == "OK"


def test_a_call_under_way_is_answered_before_the_face_ends() -> None:
    asked, answer = threading.Event(), threading.Event()

    class Slow:
        name = "slow"

        @property
        def signature(self) -> Any:
            asked.set()
            assert answer.wait(PATIENCE_S)
            raise NotFound("not here")

    models = Mock(find=lambda *_: Slow(), not_ready=list)
    with ThreadPoolExecutor(1) as pool, face(models=models) as served:
        waiting = pool.submit(code, served, iter([b""]), method="ModelMetadata")
        assert asked.wait(PATIENCE_S)
        served.drain()
        until(lambda: code(served, iter([b""]), method="ServerLive") == "UNAVAILABLE")
        answer.set()
        assert waiting.result(PATIENCE_S) == "NOT_FOUND"
