"""What executes a graph: OpenVINO or ONNX Runtime behind one face.

A runtime is called by one thread at a time, the owner thread of its batcher. `open_runtime` and `best_batch`
choose by measuring on this machine. Nothing here knows what a graph is for.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray

from platoon.engine.surgery import Graph
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError
from platoon.settings import EngineSettings

logger = logging.getLogger(__name__)

Shape = tuple[int, ...]


class Runtime(Protocol):
    """A loaded graph. Not thread-safe."""

    @property
    def name(self) -> str:
        """What executes it, for logs and reports."""

    def __call__(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The graph's outputs for `batch`, whose first axis is the items; the arrays belong to the caller."""

    def prepare(self, shape: Shape) -> None:
        """Get ready for inputs of exactly `shape`, which then run as fast as can be. Other shapes still
        run."""

    def close(self) -> None:
        """Free what it holds; calling it afterwards is an error."""


class OpenVinoRuntime:
    """OpenVINO on the CPU.

    One graph compiled for any shape serves all; `prepare` compiles another for one shape, which ran 13 %
    faster for text detection (70 against 79 ms at 960x544).

    Args:
        threads: of one execution; 0: one per core.
        half: compute in bfloat16 where the CPU has instructions for it: nearly twice as fast, with 8 bits of
            precision. Otherwise float32 always.
    """

    def __init__(self, graph: Graph, *, threads: int = 0, half: bool = False) -> None:
        self._graph = graph
        self._core = openvino.Core()
        half = half and "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.name = "openvino, bfloat16" if half else "openvino"
        self._options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1,
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            # Several models and the decoders share the cores: a thread tied to a core would wait for its
            # neighbour.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            self._any_shape = self._compile(None)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run model {graph.model.name}: {error}") from error
        self._by_shape: dict[Shape, Any] = {}

    def __call__(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        pixels = np.ascontiguousarray(self._graph.prepare(batch))
        request = self._by_shape.get(pixels.shape, self._any_shape)
        # The request reuses the memory of its outputs at the next call.
        request.infer([pixels], share_inputs=True, share_outputs=True)
        outputs = tuple(tensor.data.copy() for tensor in request.output_tensors)
        return self._graph.finish(outputs)

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`."""
        bare = self._graph.prepare(np.zeros(shape, np.uint8)).shape
        if bare not in self._by_shape:
            self._by_shape[bare] = self._compile(bare)

    def close(self) -> None:
        """See `Runtime`."""
        self._by_shape.clear()
        self._any_shape = None

    def _compile(self, shape: Shape | None) -> Any:
        network = self._core.read_model(self._graph.proto, b"")
        if shape is not None:
            network.reshape(list(shape))
        return self._core.compile_model(network, "CPU", self._options).create_infer_request()


class OnnxRuntime:
    """ONNX Runtime.

    Args:
        threads: of one execution; 0: one per core.
        providers: ONNX Runtime's names of what may execute the graph, best first.
    """

    def __init__(
        self, graph: Graph, *, threads: int = 0, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> None:
        self._graph = graph
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Its threads would spin for work between executions, on cores that decoders need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(graph.proto, options, providers=list(providers))
        except Exception as error:  # its errors share no base
            raise ModelError(f"ONNX Runtime cannot run model {graph.model.name}: {error}") from error
        self.name = f"onnxruntime, {self._session.get_providers()[0]}"
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        outputs = self._session.run(None, {self._input: self._graph.prepare(batch)})
        return self._graph.finish(tuple(outputs))

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`. One execution lets it allocate what such inputs need."""
        self(np.zeros(shape, np.uint8))

    def close(self) -> None:
        """See `Runtime`."""
        self._session = None


def open_runtime(
    graph: Graph, settings: EngineSettings, tuning: Tuning, *, example: Shape, half: bool = False
) -> Runtime:
    """The runtime that `settings` name for `graph`; `auto` takes the one that is faster for inputs of shape
    `example`.

    Args:
        half: allow bfloat16, for graphs whose answers were found to stay the same.

    Raises:
        ModelError: the graph cannot be executed; under `auto`, by none of them.
    """
    openers: dict[str, Callable[[], Runtime]] = {
        "openvino": lambda: OpenVinoRuntime(graph, threads=settings.threads, half=half),
        "onnxruntime": lambda: OnnxRuntime(graph, threads=settings.threads),
    }

    def fastest() -> str:
        times: dict[str, float] = {}
        failures: list[str] = []
        for name, opener in openers.items():
            try:
                runtime = opener()
                times[name] = _seconds(runtime, example)
                runtime.close()
            except (ModelError, RuntimeError) as error:
                logger.warning("model %s does not run on %s: %s", graph.model.name, name, error)
                failures.append(str(error))
        if not times:
            raise ModelError(f"nothing here runs model {graph.model.name}: {'; '.join(failures)}")
        return min(times, key=times.__getitem__)

    name: str = settings.runtime
    if name == "auto":
        question = f"runtime of {graph.model.name} {graph.digest[:16]}, {settings.threads} threads, {half = }, {example}"
        name = tuning.choose(question, openers, fastest)
    return openers[name]()


def best_batch(runtime: Runtime, graph: Graph, tuning: Tuning, *, item: Shape, limit: int) -> int:
    """The smallest of 1, 2, 4, ... up to `limit` whose cost per item is within 5 % of the best.

    Args:
        item: shape of one item, without the batch's axis.
    """
    sizes = [1 << power for power in range(limit.bit_length())]

    def cheapest() -> int:
        costs = {size: _seconds(runtime, (size, *item)) / size for size in sizes}
        return min(size for size in sizes if costs[size] <= 1.05 * min(costs.values()))

    question = f"batch of {graph.model.name} {graph.digest[:16]} on {runtime.name}, {item}, up to {limit}"
    return tuning.choose(question, sizes, cheapest)


def _seconds(runtime: Runtime, shape: Shape, repetitions: int = 4) -> float:
    """The shortest of a few executions: what the machine can do when nothing else disturbs it."""
    batch = np.zeros(shape, np.uint8)
    runtime(batch)
    durations = []
    for _ in range(repetitions):
        start = time.perf_counter()
        runtime(batch)
        durations.append(time.perf_counter() - start)
    return min(durations)
