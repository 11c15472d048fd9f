"""The protocol over gRPC, on a port and in an event loop of its own.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol, service
`inference.GRPCInferenceService`, with Triton's `ModelConfig`. Needs the extra `kserve`.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.metadata import version
from math import prod
from types import TracebackType
from typing import Any, Self

import numpy as np

from platoon.api.access import Access, Need, check_listening
from platoon.api.bodies import WaitingBytes
from platoon.api.kserve.messages import DATA_TYPES, METHODS, SERVICE, joined, message, size_in_memory, split
from platoon.api.kserve.models import EXTENSIONS, MAX_ITEMS, PLATFORM, VERSION, ServedModel, ServedModels
from platoon.api.problems import message_of
from platoon.engine.signature import TensorSpec
from platoon.errors import DeadlineExceeded, InvalidInput, MissingExtra, PlatoonError, TooLarge, Unavailable
from platoon.metrics import Metrics
from platoon.settings import ApiSettings, ServiceSettings
from platoon.tracing import Tracing

CONTRACT = "kserve-grpc"
_CALLER_LEFT = 499
_ALIVE_MS = 20_000
"""After so long without a sign a connection is asked for one, and after so long again closed."""
_SMALL_BYTES = 65_536
"""Of a message that asks for no inference."""
_CODES: Mapping[int, str] = {
    200: "OK",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    _CALLER_LEFT: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status of an error -> gRPC's name for the same."""

NEEDS: Mapping[str, Need] = {
    "ServerLive": "key",
    "ServerReady": "key",
    "ModelReady": "infer",
    "ServerMetadata": "infer",
    "ModelMetadata": "infer",
    "ModelConfig": "infer",
    "ModelInfer": "infer",
}
"""What each method asks of its caller; a method that is not here cannot be served."""

_log = logging.getLogger(__name__)


class GrpcServer:
    """Serves `models` between `__enter__` and `__exit__`.

    Args:
        tracing: stays its owner's; none: nothing is traced.
        access: says who may call, if other servers share it.
        bodies: counts the bytes of all bodies under way, if other servers share it.
        limits: on connections, and how long it may take to end.
        port: 0: any free one; `port` says which, once entered.

    Raises:
        MissingExtra: grpcio is not installed. InvalidSettings: others reach the address, and nothing keeps strangers
            out. Unavailable: on entering, when the port cannot be had.
    """

    def __init__(
        self,
        models: ServedModels,
        settings: ServiceSettings,
        metrics: Metrics,
        tracing: Tracing | None = None,
        *,
        access: Access | None = None,
        bodies: WaitingBytes | None = None,
        limits: ApiSettings | None = None,
        host: str,
        port: int,
    ) -> None:
        try:
            import grpc
        except ImportError as error:
            raise MissingExtra.of("the gRPC server", "kserve") from error
        check_listening(host, settings)
        self._grpc, self._settings, self._limits = grpc, settings, limits or ApiSettings()
        self._servicer = _Servicer(
            models,
            settings,
            metrics,
            tracing or Tracing(),
            grpc,
            access or Access(settings),
            bodies or WaitingBytes(settings.max_waiting_bytes),
        )
        self._host, self.port = host, port

    def __enter__(self) -> Self:
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="grpc", daemon=True)
        self._thread.start()
        self.port = started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()
        self._thread.join()

    def drain(self) -> None:
        """Begin to end, and return at once: new calls are refused, those under way answered up to the deadline."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._closing.set)

    def _run(self, started: Future[int]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    async def _serve(self, started: Future[int]) -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        longest = self._settings.max_body_bytes
        server = self._grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", longest),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.max_concurrent_streams", self._settings.max_requests),
                ("grpc.max_allowed_incoming_connections", self._most_connections()),
                ("grpc.server_handshake_timeout_ms", round(self._limits.stall_timeout_s * 1000)),
                ("grpc.max_connection_idle_ms", round(self._limits.idle_timeout_s * 1000)),
                ("grpc.keepalive_time_ms", _ALIVE_MS),
                ("grpc.keepalive_timeout_ms", _ALIVE_MS),
            ],
            maximum_concurrent_rpcs=self._settings.max_requests,
        )
        server.add_generic_rpc_handlers((self._servicer.handlers(),))
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            port = server.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError as error:
            raise Unavailable(f"gRPC cannot have port {self.port} on {self._host}: {error}") from error
        await server.start()
        started.set_result(port)
        await self._closing.wait()
        await server.stop(self._limits.drain_s)

    def _most_connections(self) -> int:
        """A quarter of the descriptors, as half is for HTTP and the rest for cameras."""
        return max(1, min(self._limits.max_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))


@dataclass
class _Ending:
    """How a call ended."""

    status: int = _CALLER_LEFT
    """Of HTTP, that says the same."""
    text: str = ""

    @property
    def code(self) -> str:
        return _CODES.get(self.status, "INTERNAL")

    def refuse(self, error: PlatoonError) -> None:
        """It ended with this."""
        self.status, self.text = error.status, message_of(error)


class _Servicer:
    """Answers each method."""

    def __init__(
        self,
        models: ServedModels,
        settings: ServiceSettings,
        metrics: Metrics,
        tracing: Tracing,
        grpc: Any,
        access: Access,
        bodies: WaitingBytes,
    ) -> None:
        self._models, self._settings, self._grpc = models, settings, grpc
        self._metrics, self._tracing = metrics, tracing
        self._access, self._bodies = access, bodies
        # How large a message is shows only once it is here. So many are received at once that they could take half as
        # much as all that may be under way, and no more.
        self._receiving = asyncio.Semaphore(max(1, settings.max_waiting_bytes // settings.max_body_bytes // 2))

    def handlers(self) -> Any:
        """What a server needs to know of the methods."""
        return self._grpc.method_handlers_generic_handler(
            SERVICE,
            {
                # As a stream of requests, of which there is one: so the key is looked at before the body is received.
                name: self._grpc.stream_unary_rpc_method_handler(
                    self._answering(name, NEEDS[name]),
                )
                for name in METHODS
            },
        )

    def _answering(self, name: str, need: Need) -> Callable[[Any, Any], Awaitable[Any]]:
        """The method called `name`, its errors worded as gRPC does; inferences are counted and traced.

        Args:
            need: what it asks of its caller.
        """

        async def answer(requests: Any, context: Any) -> Any:
            ending = _Ending()
            try:
                response = await self._answer(name, need, context, ending)
                if ending.status == 200:
                    return response
                await context.abort(getattr(self._grpc.StatusCode, ending.code), ending.text)
            finally:
                # gRPC keeps the error that ends a call with the call, and the error keeps this frame. What lies in it,
                # or in one below, would stay until the garbage collector comes by; so nothing does.
                del requests, context

        return answer

    async def _answer(self, name: str, need: Need, context: Any, ending: _Ending) -> Any:
        """The response as it is sent, where `ending` says that there is one."""
        try:
            self._access.admit(dict(context.invocation_metadata() or ()), _host_of(context.peer()), need)
        except PlatoonError as error:
            self._metrics.calls_refused.labels(type(error).__name__).inc()
            ending.refuse(error)
            return None
        try:
            raw = await self._received(context)
            tensors, fields = _split(name, raw)
            with self._bodies.holding(len(raw) + size_in_memory(fields)):
                request = _parsed(name, fields)
                inferring = name == "ModelInfer"
                with self._observed(request, len(raw), context, ending) if inferring else nullcontext():
                    return await self._respond(name, request, tensors, context, ending)
        except PlatoonError as error:
            self._metrics.requests.labels(CONTRACT, str(error.status)).inc()
            ending.refuse(error)

    async def _received(self, context: Any) -> bytes:
        """The one message of a call, as it came. Raises InvalidInput, DeadlineExceeded."""
        try:
            async with asyncio.timeout(self._settings.deadline_s), self._receiving:
                # Not from the iterator of requests: that keeps the message, and itself.
                raw = await context.read()
        except TimeoutError as error:
            raise DeadlineExceeded(f"the message did not arrive within {self._settings.deadline_s:g} s") from error
        if raw is self._grpc.aio.EOF:
            raise InvalidInput("the call has no message")
        return bytes(raw)

    async def _respond(
        self, name: str, request: Any, tensors: Sequence[memoryview], context: Any, ending: _Ending
    ) -> Any:
        """What the method called `name` answers, as it is sent; every error is in `ending`."""
        method: Callable[..., Awaitable[Any]] = getattr(self, name)
        try:
            response = await method(request, context, *tensors)
            ending.status = 200
            return response if isinstance(response, bytes) else response.SerializeToString()
        except PlatoonError as error:
            ending.refuse(error)
        except Exception as error:
            _log.exception("a call over gRPC failed")
            ending.status = 500
            ending.text = f"an error inside Platoon ({type(error).__name__}); its log says more"

    @contextmanager
    def _observed(self, request: Any, n_bytes: int, context: Any, ending: _Ending) -> Iterator[None]:
        """What happens inside is an inference, for metrics and traces."""
        started = time.monotonic()
        with self._tracing.call(f"{SERVICE}/ModelInfer", dict(context.invocation_metadata() or ())):
            try:
                yield
            finally:
                self._metrics.requests.labels(CONTRACT, str(ending.status)).inc()
                self._metrics.request_bytes.labels(CONTRACT).inc(n_bytes)
                self._metrics.request_seconds.labels(CONTRACT).observe(time.monotonic() - started)
                facts = {"contract": CONTRACT, "model": request.model_name, "bytes": n_bytes}
                self._tracing.returned(ending.code, failed=ending.status >= 500, **facts)

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802  the protocol's name, as below
        del request, context
        return message("ServerLiveResponse")(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request, context
        return message("ServerReadyResponse")(ready=not self._models.not_ready())

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        del context
        self._models.find(request.name, request.version)
        return message("ModelReadyResponse")(ready=not self._models.not_ready())

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        del request, context
        return message("ServerMetadataResponse")(name="platoon", version=version("platoon"), extensions=EXTENSIONS)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        del context
        model = self._models.find(request.name, request.version)
        tensors = await asyncio.to_thread(lambda: model.signature)

        def metadata_of(spec: TensorSpec) -> Any:
            tensor = message("ModelMetadataResponse.TensorMetadata")
            return tensor(name=spec.name, datatype=spec.datatype, shape=spec.shape)

        return message("ModelMetadataResponse")(
            name=model.name,
            versions=[VERSION],
            platform=PLATFORM,
            inputs=[metadata_of(tensors.input)],
            outputs=[metadata_of(spec) for spec in tensors.outputs],
        )

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        del context
        model = self._models.find(request.name, request.version)
        tensors, parameters = await asyncio.to_thread(lambda: (model.signature, model.parameters))

        def described(kind: str, spec: TensorSpec) -> Any:
            return message(kind)(name=spec.name, data_type=DATA_TYPES[spec.datatype], dims=spec.shape[1:])

        config = message("ModelConfig")(
            name=model.name,
            platform=PLATFORM,
            backend=PLATFORM,
            max_batch_size=MAX_ITEMS,
            input=[described("ModelInput", tensors.input)],
            output=[described("ModelOutput", spec) for spec in tensors.outputs],
            dynamic_batching=message("ModelDynamicBatching")(),
            parameters={key: message("ModelParameter")(string_value=value) for key, value in parameters.items()},
        )
        return message("ModelConfigResponse")(config=config)

    async def ModelInfer(self, request: Any, context: Any, *tensors: memoryview) -> Any:  # noqa: N802
        model = self._models.find(request.model_name, request.model_version)
        left_s = context.time_remaining()
        longest_s = self._settings.deadline_s if left_s is None else min(left_s, self._settings.deadline_s)
        asked = await asyncio.to_thread(_inference, model, request, tensors, longest_s)
        outputs = await model.infer(asked)
        datatypes = {spec.name: spec.datatype for spec in model.signature.outputs}
        tensor = message("ModelInferResponse.InferOutputTensor")
        response = message("ModelInferResponse")(
            model_name=model.name,
            model_version=VERSION,
            id=request.id,
            outputs=[
                tensor(name=name, datatype=datatypes[name], shape=values.shape) for name, values in outputs.items()
            ],
        )
        return joined(response, outputs.values())


def _split(name: str, raw: bytes) -> tuple[list[memoryview], bytes]:
    """The raw tensors of a message, and the rest of it. Raises InvalidInput, TooLarge."""
    if name == "ModelInfer":
        try:
            return split(raw)
        except ValueError as error:
            raise InvalidInput(f"the message cannot be read: {error}") from error
    if len(raw) > _SMALL_BYTES:
        raise TooLarge(f"the message has {len(raw)} bytes; {name} takes {_SMALL_BYTES}")
    return [], raw


def _parsed(name: str, fields: bytes) -> Any:
    """The message of a method. Raises InvalidInput."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return message(f"{name}Request").FromString(fields)
    except DecodeError as error:
        raise InvalidInput("the message cannot be read") from error


def _inference(model: ServedModel, request: Any, tensors: Sequence[memoryview], longest_s: float) -> Any:
    """What a message asks of `model`."""
    if len(request.inputs) != 1:
        raise InvalidInput(f"there are {len(request.inputs)} inputs; {model.name} takes one")
    (tensor,) = request.inputs
    for named in (tensor, *request.outputs):
        if asked := {"classification", "shared_memory_region"} & set(named.parameters):
            raise InvalidInput(f"tensor {named.name!r}: {', '.join(sorted(asked))} cannot be had here")
    shape = model.check_input(tensor.name, tensor.datatype, list(tensor.shape))
    if tensors:
        if len(tensors) != 1 or tensor.HasField("contents"):
            raise InvalidInput(f"input {tensor.name!r} is there more than once")
        values = np.frombuffer(tensors[0], np.uint8)
    else:
        numbers = np.array(tensor.contents.uint_contents, np.uint32)
        if numbers.size and numbers.max() > 255:
            raise InvalidInput(f"the data of input {tensor.name!r} are not all from 0 to 255")
        values = numbers.astype(np.uint8)
    if values.size != prod(shape):
        raise InvalidInput(f"input {tensor.name!r} has {values.size} values; shape {list(shape)} has {prod(shape)}")
    parameters = {
        name: getattr(value, value.WhichOneof("parameter_choice") or "int64_param")
        for name, value in request.parameters.items()
    }
    wanted = list(dict.fromkeys(output.name for output in request.outputs))
    return model.request(values.reshape(shape), wanted, parameters, longest_s=longest_s)


def _host_of(peer: str) -> str:
    """The address in gRPC's name of a peer: `ipv4:127.0.0.1:53210`, `ipv6:%5B::1%5D:53210`."""
    host = peer.partition(":")[2].rpartition(":")[0]
    return host.replace("%5B", "").replace("%5D", "").strip("[]")
