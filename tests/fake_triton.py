"""A server of Triton's protocol on loopback, for the models of one BYTES tensor, that does what a test tells it to."""

import json
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc


@dataclass
class FakeTriton:
    """What it was asked, and what it answers."""

    answer: Callable[[str, dict[str, Any]], Any]
    """To a model and its request: an answer, bytes as they are, or a gRPC status to fail with."""
    models: set[str] = field(default_factory=lambda: {"layout-parsing", "restructure-pages"})
    url: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    cancelled: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    slow: threading.Event | None = None
    """Answers wait for it."""


@contextmanager
def fake_triton(answer: Callable[[str, dict[str, Any]], Any], *, port: int = 0) -> Iterator[FakeTriton]:
    """Serve as long as it lasts."""
    fake = FakeTriton(answer)

    class Service(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
            if fake.slow is not None:
                fake.slow.wait(30)
            return service_pb2.ServerReadyResponse(ready=True)

        def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.ModelReadyResponse(ready=request.name in fake.models)

        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            (tensor,) = request.inputs
            assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("input", "BYTES", [1, 1])
            (length,) = struct.unpack_from("<I", request.raw_input_contents[0])
            body = request.raw_input_contents[0][4 : 4 + length]
            fake.raw.append(body)
            fake.asked.append((request.model_name, json.loads(body)))
            context.add_callback(fake.cancelled.release)
            if fake.slow is not None:
                fake.slow.wait(30)
            said = fake.answer(request.model_name, json.loads(body))
            if isinstance(said, grpc.StatusCode):
                context.abort(said, "as the test wants it")
            data = said if isinstance(said, bytes) else json.dumps(said).encode()
            output = service_pb2.ModelInferResponse.InferOutputTensor(name="output", datatype="BYTES", shape=[1, 1])
            return service_pb2.ModelInferResponse(
                model_name=request.model_name,
                outputs=[output],
                raw_output_contents=[struct.pack("<I", len(data)) + data],
            )

    unbounded = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(8), options=[*unbounded, ("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Service(), server)
    fake.url = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield fake
    finally:
        if fake.slow is not None:
            fake.slow.set()
        server.stop(None).wait()
