"""Paddle's own engine: inference models of PaddlePaddle 3, as PaddleOCR's training exports them.

What surgery does inside of ONNX graphs is done around these in numpy. The package is large and takes hold of the
process that imports it, so it is imported when a model is loaded, and never for anything else. On a GPU nothing here
has run yet.
"""

from __future__ import annotations

import ctypes
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from platoon.arrays import Array, on_host
from platoon.engine.background import background
from platoon.engine.executor import Executor, Shape
from platoon.engine.surgery import Graph
from platoon.errors import InvalidSettings, MissingExtra, ModelError

logger = logging.getLogger(__name__)

OLD = ("1", "2")
"""Major versions of PaddlePaddle that do not know `inference.json`."""
KEPT_SHAPES = 10
"""Of inputs; what oneDNN made for older ones is made anew. After 154 shapes up to 480x480 a network of twelve layers
held 360 MB, as it did after 80; without a bound it held 1.1 GB and grew."""
GPU_POOL_MB = 256
"""Memory that is taken on a GPU at first; it grows as it is needed."""

_importing = threading.Lock()


class PaddleRuntime:
    """A `Runtime` by Paddle: on a GPU if the installed package was built for one and there is one, else on the CPU.

    Args:
        graph: of a Paddle model.
        example: shape of an input that it is tried with.
        device: number of the GPU.
        threads: of one execution on the CPU.
        executions: at once, on the CPU.

    Raises:
        MissingExtra: PaddlePaddle is not installed. InvalidSettings: it is too old.
        ModelError: the model cannot be executed.
    """

    def __init__(self, graph: Graph, *, example: Shape, device: int = 0, threads: int = 1, executions: int = 1) -> None:
        paddle = import_paddle()
        self._graph, self._example, self._threads, self._executions = graph, example, threads, executions
        gpus = paddle.device.cuda.device_count() if paddle.device.is_compiled_with_cuda() else 0
        if 0 < gpus <= device:
            raise InvalidSettings(f"engine.device = {device}, but Paddle finds {gpus} GPUs here, numbered from 0")
        self._on_gpu, gpu = gpus > 0, device if gpus else None
        self.on_cpu = not self._on_gpu
        at_once = f"{executions} at once" + (f" on {threads} threads each" if threads > 1 else "")
        self.name = f"paddle {paddle.__version__}, float32, {f'GPU {device}' if gpus else at_once}"
        try:
            try:
                self._origin = self._tried(paddle.inference, gpu, onednn=gpu is None)
            except NotImplementedError as error:
                # Releases differ in which models they execute by oneDNN: 3.3 none with a map scaled by a factor, as
                # those that find text have.
                self._origin = self._tried(paddle.inference, gpu, onednn=False)
                logger.warning("model %s runs without oneDNN, which is slower: %s", graph.model.name, _reason(error))
        except ModelError:
            raise
        except Exception as error:  # what Paddle raises shares no base
            raise ModelError(
                f"Paddle cannot run model {graph.model.path} with the weights in {graph.model.parameters}, which must "
                f"be of one export: {_reason(error)}"
            ) from error
        self._lanes = self._cloned(1 if self._on_gpu else executions)

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Runtime`."""
        return self._lanes[0](batch)

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`. One execution lets it make what such inputs need."""
        self(np.zeros(shape, np.uint8))

    def foreground(self) -> Sequence[Executor]:
        """See `Runtime`. They share the weights."""
        return self._lanes

    def background(self) -> Sequence[Executor]:
        """See `Runtime`. Those of one thread run on that of their caller, and share the weights; on a GPU none."""
        if self._on_gpu:
            return ()
        count = self._threads * self._executions
        alone = partial(PaddleRuntime, self._graph, example=self._example, executions=count)
        return background(lambda: self._sharing(count) if self._threads == 1 else alone(), count)

    def close(self) -> None:
        """See `Runtime`."""
        for lane in self._lanes:
            lane.close()
        self._origin = None

    def _sharing(self, executions: int) -> PaddleRuntime:
        """Another runtime with the same weights."""
        other = copy(self)
        other._lanes = self._cloned(executions)
        return other

    def _cloned(self, count: int) -> list[_PaddleLane]:
        """Executors; that of which they are clones never executes anything again, as it might meanwhile be cloned."""
        return [_PaddleLane(self._graph, self._origin.clone()) for _ in range(count)]

    def _tried(self, inference: Any, gpu: int | None, *, onednn: bool) -> Any:
        """A predictor that has executed the example."""
        model = self._graph.model
        config = inference.Config(str(model.path), str(model.parameters))
        config.disable_glog_info()
        config.enable_memory_optim(True)
        config.enable_new_executor()
        if model.path.suffix == ".json":
            config.enable_new_ir(True)
        if gpu is not None:
            config.enable_use_gpu(GPU_POOL_MB, gpu)
        else:
            config.disable_gpu()
            config.set_cpu_math_library_num_threads(self._threads)
            if onednn:
                config.enable_mkldnn()
                config.set_mkldnn_cache_capacity(KEPT_SHAPES)
            else:
                config.disable_mkldnn()
        predictor = inference.create_predictor(config)
        _PaddleLane(self._graph, predictor)(np.zeros(self._example, np.uint8))
        return predictor


class _PaddleLane:
    """One of the executions that run at once, with inputs and outputs of its own."""

    def __init__(self, graph: Graph, predictor: Any) -> None:
        self._graph, self._predictor = graph, predictor
        inputs = predictor.get_input_names()
        if len(inputs) != 1:
            raise ModelError(f"model {graph.model.path} has {len(inputs)} inputs, where one was expected")
        self._input = predictor.get_input_handle(inputs[0])
        self._outputs = [predictor.get_output_handle(name) for name in predictor.get_output_names()]

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        self._input.copy_from_cpu(np.ascontiguousarray(self._graph.prepare(on_host(batch))))
        self._predictor.run()
        return self._graph.finish(tuple(output.copy_to_cpu() for output in self._outputs))

    def close(self) -> None:
        del self._input, self._outputs
        self._predictor = None


def import_paddle() -> Any:
    """The package, which leaves the process as it was.

    Raises:
        MissingExtra: it is not installed. InvalidSettings: it is too old.
    """
    with _importing, nullcontext() if "paddle" in sys.modules else _process_kept():
        # It looks for a compiler's cache, which is of no use here.
        warnings.filterwarnings("ignore", message="No ccache found")
        try:
            import paddle
            import paddle.inference
        except ImportError as error:
            raise MissingExtra.of("engine.runtime = 'paddle'", "paddle") from error
    if paddle.__version__.split(".")[0] in OLD:
        raise InvalidSettings(
            f"engine.runtime = 'paddle' needs PaddlePaddle 3 or newer, and {paddle.__version__} is installed: "
            "pip install --upgrade 'platoon[paddle]'"
        )
    return paddle


@contextmanager
def _process_kept() -> Iterator[None]:
    """What signals do stays as it is, and what is logged.

    Paddle's own handlers end the process at a SIGTERM at once, whatever it has to finish. Only the system's own call
    can set handlers on any thread; what it takes and gives is looked at by nobody here.
    """
    root = logging.getLogger()
    logged = root.handlers[:], root.level
    sigaction = ctypes.CDLL(None).sigaction
    before = {}
    for number in signal.valid_signals():
        action = ctypes.create_string_buffer(_ACTION_BYTES)
        if sigaction(int(number), None, action) == 0:
            before[int(number)] = action
    try:
        yield
    finally:
        root.handlers[:], root.level = logged
        for signum, action in before.items():
            sigaction(signum, action, None)


_ACTION_BYTES = 1024
"""More than the largest `struct sigaction` has."""


def _reason(error: Exception) -> str:
    """What Paddle says of an error, without the places in its own source."""
    lines = [line.strip() for line in str(error).splitlines()]
    after = lines.index("Error Message Summary:") + 1 if "Error Message Summary:" in lines else 0
    said = " ".join(line for line in lines[after:] if line.strip("-"))
    return said.partition(" [Hint: ")[0].partition(" (at ")[0] or type(error).__name__
