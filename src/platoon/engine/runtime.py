"""What executes a graph: OpenVINO or ONNX Runtime on the CPU, a GPU, Paddle, or a server, behind one face.

A runtime is called by one thread at a time, a thread of its batcher. `open_runtime` and `best_batch`
choose by measuring on this machine. Nothing here knows what a graph is for. `gpu`, `paddle` and `triton` hold
the runtimes beyond these two.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray

from platoon.arrays import HOST, Array, device_of, on_host
from platoon.engine.background import background
from platoon.engine.binding import BoundSession
from platoon.engine.cost import Cost, TimedRuntime, fit
from platoon.engine.executor import Executor, Runtime, Shape, ShapeProfile
from platoon.engine.gpu import GpuRuntime, provided
from platoon.engine.paddle import PaddleRuntime
from platoon.engine.surgery import Graph
from platoon.engine.triton import TritonRuntime
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidSettings, ModelError
from platoon.metrics import Metrics
from platoon.settings import EngineSettings

logger = logging.getLogger(__name__)

onnxruntime.disable_telemetry_events()  # if a program that embeds Platoon imported it first, with its telemetry on


class OpenVinoRuntime:
    """OpenVINO on the CPU.

    One graph compiled for any shape serves all; `prepare` compiles another for one shape, which ran 13 %
    faster for text detection (70 against 79 ms at 960x544).

    Args:
        threads: of one execution. On one it costs the least: threads wait for each other at every layer, the longer the
            more other work there is.
        executions: at once.
        allow_bf16: compute in bfloat16 where the CPU has instructions for it: nearly twice as fast, with 8 bits of
            precision. Otherwise float32 always.
    """

    on_cpu = True

    def __init__(self, graph: Graph, *, threads: int = 1, executions: int = 1, allow_bf16: bool = False) -> None:
        self._graph, self._allow_bf16, self._executions = graph, allow_bf16, executions
        self._core: Any = openvino.Core()
        allow_bf16 = allow_bf16 and "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self.name = f"openvino, {'bfloat16' if allow_bf16 else 'float32'}, {_how_many(executions, threads)}"
        self._options = {
            "NUM_STREAMS": executions,
            "INFERENCE_NUM_THREADS": executions * threads,
            "INFERENCE_PRECISION_HINT": "bf16" if allow_bf16 else "f32",
            # Several models and the decoders share the cores: a thread tied to a core would wait for its
            # neighbour.
            "ENABLE_CPU_PINNING": False,
            # Each of its executors keeps what it made for every shape it saw. After 200 pictures of random sizes its
            # default of 5,000 entries held 1.3 GB and grew on; 512 settled at 0.8 GB, for a tenth more work on shapes
            # never seen. While two executors read 31 pages in the background, memory grew by 170 MB with 512 and by
            # 57 MB with 64, for 3 % more processor time.
            "CPU_RUNTIME_CACHE_CAPACITY": 128,
        }
        try:
            self._any_shape = self._compile(None)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot run model {graph.model.name}: {error}") from error
        self._by_shape: dict[Shape, Any] = {}
        self._lanes = [_OpenVinoLane(self) for _ in range(executions)]

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        return self._lanes[0](batch)

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`."""
        bare = self._graph.prepare(np.zeros(shape, np.uint8)).shape
        if bare not in self._by_shape:
            self._by_shape[bare] = self._compile(bare)

    def foreground(self) -> Sequence[Executor]:
        """See `Runtime`. They share the weights."""
        return self._lanes

    def background(self) -> Sequence[Executor]:
        """See `Runtime`. They share one compiled model, but not this one's.

        OpenVINO executes on threads of the compiled model, in the order of the calls: these could not yield to each
        other. Only a model that is executed once at a time runs on the thread of its caller.
        """
        count = cores()
        return background(partial(OpenVinoRuntime, self._graph, executions=count, allow_bf16=self._allow_bf16), count)

    def close(self) -> None:
        """See `Runtime`."""
        for lane in self._lanes:
            lane.close()
        self._by_shape.clear()
        # With its core go its threads. OpenVINO would keep them for the next model, which may need another priority.
        self._any_shape = self._core = None

    def compiled_for(self, shape: Shape) -> Any:
        """What executes inputs of the bare graph of this shape."""
        return self._by_shape.get(shape, self._any_shape)

    @property
    def graph(self) -> Graph:
        """What it executes."""
        return self._graph

    def _compile(self, shape: Shape | None) -> Any:
        network = self._core.read_model(self._graph.proto, b"")
        if shape is not None:
            network.reshape(list(shape))
        return self._core.compile_model(network, "CPU", self._options)


class _OpenVinoLane:
    """One of the executions that run at once, with inputs and outputs of its own."""

    def __init__(self, runtime: OpenVinoRuntime) -> None:
        self._runtime = runtime
        self._requests: dict[Any, Any] = {}
        """By what was compiled."""

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        graph = self._runtime.graph
        pixels = np.ascontiguousarray(graph.prepare(on_host(batch)))
        compiled = self._runtime.compiled_for(pixels.shape)
        request = self._requests.get(compiled)
        if request is None:
            request = self._requests[compiled] = compiled.create_infer_request()
        request.infer([pixels], share_inputs=True, share_outputs=True)
        # The request reuses the memory of its outputs at the next call.
        return graph.finish(tuple(tensor.data.copy() for tensor in request.output_tensors))

    def close(self) -> None:
        self._requests.clear()


class OnnxRuntime:
    """ONNX Runtime on the CPU.

    Args:
        threads: of one execution.
        executions: at once.
    """

    on_cpu = True

    def __init__(self, graph: Graph, *, threads: int = 1, executions: int = 1) -> None:
        self._graph, self._threads, self._executions = graph, threads, executions
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Its threads would spin for work between executions, on cores that decoders need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(graph.proto, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no base
            raise ModelError(f"ONNX Runtime cannot run model {graph.model.name}: {error}") from error
        self.name = f"onnxruntime, float32, {_how_many(executions, threads)}"
        self._session = BoundSession(session)

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        if self._graph.on_host or device_of(batch) != HOST:
            batch = self._graph.prepare(on_host(batch))
        return self._graph.finish(self._session(batch))

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`. One execution lets it allocate what such inputs need."""
        self(np.zeros(shape, np.uint8))

    def foreground(self) -> Sequence[Executor]:
        """See `Runtime`. Sessions may be called by several threads at once."""
        return [self] * self._executions

    def background(self) -> Sequence[Executor]:
        """See `Runtime`. On one thread an execution runs on that of its caller: they share this session."""
        count = cores()
        alone = partial(OnnxRuntime, self._graph, executions=count)
        return background(lambda: self if self._threads == 1 else alone(), count)

    def close(self) -> None:
        """See `Runtime`."""
        self._session.close()


def open_runtime(
    graph: Graph,
    settings: EngineSettings,
    tuning: Tuning,
    *,
    example: Shape,
    profile: ShapeProfile | None = None,
    allow_bf16: bool = False,
    executions: int | None = None,
    metrics: Metrics | None = None,
) -> Runtime:
    """The runtime that `settings` name for `graph`.

    `auto` takes a GPU that ONNX Runtime can use, else the faster of OpenVINO and ONNX Runtime on the CPU; what it
    could not use is counted in `metrics`. Every other name is that runtime or an error, but that `paddle` executes
    models in Paddle's form only, and is `auto` for ONNX graphs.

    Args:
        graph: what it executes.
        settings: which runtime, with how many threads.
        tuning: remembers what was faster, and gives the folder for engines that take long to build.
        example: shape of the inputs that it is measured with.
        profile: all the shapes it will see; none: up to `settings.max_batch` items as in `example`.
        allow_bf16: allow bfloat16, for graphs whose answers were found to stay the same.
        executions: at once on the CPU; none: see `executions_at_once`.
        metrics: learn which runtime it is and what executing it costs.

    Raises:
        ModelError: the graph cannot be executed; under `auto`, by none of them.
        MissingExtra, InvalidSettings: what the settings name cannot be had here.
        Unavailable: the server does not answer.
    """
    item = example[1:]
    allow_bf16 = allow_bf16 and settings.precision == "auto"
    threads = settings.threads or 1
    shape = {"threads": threads, "executions": executions or executions_at_once(settings)}
    reach = profile or ShapeProfile((1, *item), example, (max(settings.max_batch, example[0]), *item))
    openers: dict[str, Callable[[], Runtime]] = {
        "openvino": lambda: OpenVinoRuntime(graph, **shape, allow_bf16=allow_bf16),
        "onnxruntime": lambda: OnnxRuntime(graph, **shape),
        "cuda": lambda: GpuRuntime(graph, "cuda", reach, device=settings.device, cache=tuning.folder),
        "tensorrt": lambda: GpuRuntime(graph, "tensorrt", reach, device=settings.device, cache=tuning.folder),
        "triton": lambda: TritonRuntime(
            graph, url=settings.triton_url, timeout_s=settings.triton_timeout_s, max_batch=settings.max_batch
        ),
        "paddle": lambda: PaddleRuntime(graph, example=example, device=settings.device, **shape),
    }

    def tried(names: Sequence[str]) -> dict[str, Runtime]:
        """Those that can execute `graph`, opened."""
        usable: dict[str, Runtime] = {}
        for name in names:
            try:
                runtime = openers[name]()
                runtime(np.zeros(example, np.uint8))
            except Exception as error:  # executing raises errors that share no base
                logger.warning("%s: %s", name, error)
                failures.append(str(error))
                if metrics is not None:
                    metrics.runtime_fallbacks.labels(graph.name, name).inc()
            else:
                usable[name] = runtime
        return usable

    def fastest() -> str:
        candidates = tried(("openvino", "onnxruntime"))
        if not candidates:
            raise ModelError(f"nothing here runs model {graph.model.name}: {'; '.join(failures)}")
        times = _seconds([(runtime, example) for runtime in candidates.values()])
        for runtime in candidates.values():
            runtime.close()
        return min(zip(times, candidates, strict=True))[1]

    failures: list[str] = []
    name: str = settings.runtime
    if graph.model.parameters is not None and name != "paddle":
        raise InvalidSettings(
            f"model {graph.model.path} is in Paddle's form, which only Paddle's own engine executes: set "
            f"engine.runtime = 'paddle' in place of {name!r}, or name the model as an ONNX file"
        )
    if graph.model.parameters is None and name == "paddle":
        name = "auto"
    runtime = None
    if name == "auto" and provided("cuda"):
        runtime = tried(("cuda",)).get("cuda")
    if name == "auto" and runtime is None:
        case = f"{example}, {threads} threads, {allow_bf16 = }"
        question = f"runtime of {graph.model.name} {graph.digest[:16]}, {case}"
        name = tuning.choose(question, ("openvino", "onnxruntime"), fastest)
    runtime = runtime or openers[name]()
    return runtime if metrics is None else TimedRuntime(runtime, graph.name, metrics, item=item)


def best_batch(runtime: Runtime, graph: Graph, tuning: Tuning, *, item: Shape, limit: int) -> int:
    """The batch, of 1, 2, 4, ... up to `limit`, from which on twice as many gain less than 10 % per item.

    Args:
        runtime: executes `graph`, whose digest the choice is remembered by.
        graph: see there.
        tuning: remembers.
        item: shape of one item, without the batch's axis.
        limit: the largest batch to try.
    """

    def saturating() -> int:
        size = 1
        while 2 * size <= limit:
            alone, doubled = _seconds([(runtime, (size, *item)), (runtime, (2 * size, *item))])
            if doubled / 2 > 0.9 * alone:
                break
            size *= 2
        return size

    sizes = [1 << power for power in range(limit.bit_length())]
    question = f"batch of {graph.model.name} {graph.digest[:16]} on {runtime.name}, {item}, up to {limit}"
    return tuning.choose(question, sizes, saturating)


@dataclass(frozen=True, slots=True)
class ModelReport:
    """How a model is executed on this machine."""

    model: str
    runtime: str
    item: Shape
    """Of the usual size."""
    best_batch: int
    cost: Cost


def report(runtime: Runtime, model: str, *, item: Shape, best: int, limit: int) -> ModelReport:
    """How `runtime` executes `model`, measured now: nothing else may use it meanwhile.

    Args:
        item: shape of an item of the usual size.
        best: its best batch. limit: the largest it may get.
    """
    sizes = sorted({1, min(2, limit), best})
    times = _seconds([(runtime, (size, *item)) for size in sizes])
    cost = fit([(size, seconds, 1.0) for size, seconds in zip(sizes, times, strict=True)])
    return ModelReport(model, runtime.name, item, best, cost)


def execute(executors: Iterable[Executor], shapes: Iterable[Shape]) -> None:
    """Run inputs of these shapes twice: the first allocates, the second shows what such an execution costs.

    It takes two sizes to tell the cost of an execution from the cost of an item.
    """
    for executor, shape in product(executors, sorted(set(shapes))):
        batch = np.zeros(shape, np.uint8)
        for _ in range(2):
            executor(batch)


def _seconds(cases: Sequence[tuple[Runtime, Shape]], rounds: int = 4) -> list[float]:
    """The shortest time of each case. They take turns, so that other load disturbs all alike."""
    batches = [(runtime, np.zeros(shape, np.uint8)) for runtime, shape in cases]
    for runtime, batch in batches:
        runtime(batch)
    shortest = [math.inf] * len(batches)
    for _ in range(rounds):
        for number, (runtime, batch) in enumerate(batches):
            start = time.perf_counter()
            runtime(batch)
            shortest[number] = min(shortest[number], time.perf_counter() - start)
    return shortest


def _how_many(executions: int, threads: int) -> str:
    return f"{executions} at once" + (f" on {threads} threads each" if threads > 1 else "")


def executions_at_once(settings: EngineSettings) -> int:
    """How many executions keep the cores busy."""
    return max(1, cores() // (settings.threads or 1))


def cores() -> int:
    """The cores this process may use, which a container may restrict."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
