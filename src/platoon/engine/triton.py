"""A graph executed by a server of the inference protocol v2 over gRPC: NVIDIA Triton, or another Platoon.

`platoon models export-triton` writes the repository that Triton reads. The client is `tritonclient`. An inference keeps
no state on the server, so it is asked for again where the server could not be reached, until its time is up.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array, on_host
from platoon.engine.executor import Shape
from platoon.engine.signature import signature
from platoon.engine.surgery import Graph
from platoon.errors import (
    DeadlineExceeded,
    InvalidInput,
    InvalidSettings,
    MissingExtra,
    ModelError,
    Overloaded,
    PlatoonError,
    Unavailable,
)

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 1.0
CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A server that restarts is back in seconds; gRPC itself would wait up to two minutes before it looks again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""Options of a connection to Triton."""


class TritonRuntime:
    """A `Runtime` over gRPC. The model must be there under `graph.name`, with the same tensors and weights.

    Args:
        url: `host:port` of the gRPC server.
        timeout_s: for one execution, attempts to reach the server included; also for finding the model at first.
        max_batch: so many items must fit into one request.

    Raises:
        MissingExtra: `tritonclient` is not installed.
        Unavailable: no server answers. InvalidSettings: the server takes smaller batches.
        ModelError: the server does not have the model, or has another one under its name.
    """

    on_cpu = False

    def __init__(self, graph: Graph, *, url: str, timeout_s: float, max_batch: int) -> None:
        try:
            from tritonclient import grpc
        except ImportError as error:
            raise MissingExtra.of("engine.runtime = 'triton'", "triton") from error
        if graph.on_host:
            raise ModelError(f"model {graph.model.name} could not be adapted and is executed in this process only")
        self._grpc, self._model, self._url, self._timeout_s = grpc, graph.name, url, timeout_s
        self.name = f"triton at {url}"
        self._client = grpc.InferenceServerClient(url, channel_args=CHANNEL)
        expected = signature(graph)
        self._input = expected.input.name
        self._outputs = [output.name for output in expected.outputs]
        try:
            metadata = self._ask(lambda left: self._client.get_model_metadata(graph.name, client_timeout=left))
            config = self._ask(lambda left: self._client.get_model_config(graph.name, client_timeout=left)).config
            ours = [(tensor.name, tensor.datatype) for tensor in (expected.input, *expected.outputs)]
            theirs = [(tensor.name, tensor.datatype) for tensor in (*metadata.inputs, *metadata.outputs)]
            if sorted(ours) != sorted(theirs):
                raise ModelError(f"model {graph.name} on {self.name} has the tensors {theirs}, not {ours}; {_EXPORT}")
            digest = config.parameters["digest"].string_value
            if digest and digest != graph.digest:
                raise ModelError(f"model {graph.name} on {self.name} holds other weights than this Platoon; {_EXPORT}")
            if config.max_batch_size < max_batch:
                raise InvalidSettings(
                    f"model {graph.name} on {self.name} takes at most {config.max_batch_size} items at once: set "
                    f"engine.max_batch to that, or {_EXPORT}"
                )
        except BaseException:
            self.close()
            raise

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Runtime`.

        Raises:
            Unavailable: the server could not be reached in time. DeadlineExceeded: it did not answer in time.
            Overloaded: it turned the request away. InvalidInput, ModelError: it refused it, with its own words.
        """
        pixels = self._grpc.InferInput(self._input, tuple(batch.shape), "UINT8")
        pixels.set_data_from_numpy(np.ascontiguousarray(on_host(batch)))
        wanted = [self._grpc.InferRequestedOutput(name) for name in self._outputs]
        answer = self._ask(lambda left: self._client.infer(self._model, [pixels], outputs=wanted, client_timeout=left))
        # What it gives are views of the message.
        return tuple(answer.as_numpy(name).copy() for name in self._outputs)

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`: one execution lets the server get ready."""
        self(np.zeros(shape, np.uint8))

    def foreground(self) -> tuple[Self]:
        """Itself."""
        return (self,)

    def background(self) -> tuple[()]:
        """None: the server decides what it executes beside what."""
        return ()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, call: Callable[[float], Answer]) -> Answer:
        """What `call` gives for the seconds left; tried again while the server cannot be reached."""
        from tritonclient.utils import InferenceServerException

        deadline, wait = time.monotonic() + self._timeout_s, _FIRST_WAIT_S
        while True:
            try:
                return call(max(deadline - time.monotonic(), 0.001))
            except InferenceServerException as error:
                code = str(error.status() or "").removeprefix("StatusCode.")
                if code != "UNAVAILABLE" or time.monotonic() + wait >= deadline:
                    raise self._explained(code, error.message() or "no reason given") from error
                if wait == _FIRST_WAIT_S:
                    logger.warning("%s does not answer, trying again for %g s", self.name, self._timeout_s)
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _explained(self, code: str, reason: str) -> PlatoonError:
        what = f"model {self._model} on {self.name}"
        if code == "UNAVAILABLE":
            return Unavailable(f"{what} could not be reached within {self._timeout_s:g} s: {reason}")
        if code == "DEADLINE_EXCEEDED":
            return DeadlineExceeded(f"{what} did not answer within {self._timeout_s:g} s")
        if code == "RESOURCE_EXHAUSTED":
            return Overloaded(f"{what} is busy: {reason}")
        if code == "INVALID_ARGUMENT":
            return InvalidInput(f"{what} refused the request: {reason}")
        if code == "NOT_FOUND":
            return ModelError(f"{what} is not there: {reason}; {_EXPORT}")
        return ModelError(f"{what} failed: {reason}")


_EXPORT = "write the repository anew with 'platoon models export-triton' and let the server load it"
