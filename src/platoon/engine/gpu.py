"""ONNX Runtime on an NVIDIA GPU, by CUDA or TensorRT.

Which providers and options are asked for, and what is said where a GPU cannot be had, is tested; nothing here has run
on a GPU yet. ONNX Runtime itself goes on quietly on the CPU where a driver or a library is missing. Here that is an
error: falling back is for those who asked for `auto`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from platoon.arrays import Array
from platoon.engine.binding import BoundSession
from platoon.engine.executor import Shape, ShapeProfile
from platoon.engine.surgery import Graph
from platoon.errors import InvalidInput, InvalidSettings, MissingExtra, ModelError
from platoon.private import make_folder

Kind = Literal["cuda", "tensorrt"]
Provider = tuple[str, Mapping[str, str]]

PROVIDERS: Mapping[Kind, str] = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


def provided(kind: Kind) -> bool:
    """Whether the installed ONNX Runtime was built for it; says nothing about drivers."""
    return PROVIDERS[kind] in onnxruntime.get_available_providers()


def providers(kind: Kind, graph: Graph, profile: ShapeProfile, *, device: int, cache: Path) -> list[Provider]:
    """What ONNX Runtime is asked for: the best first, each with its options.

    cuDNN's exhaustive search would tune itself anew for every new shape. TensorRT builds one engine for the
    whole extent (minutes at first) and keeps it in `cache`, under the digest of the graph.
    """
    cuda: Provider = (PROVIDERS["cuda"], {"device_id": str(device), "cudnn_conv_algo_search": "DEFAULT"})
    if kind == "cuda":
        return [cuda]
    folder = cache / "tensorrt" / graph.digest[:16]
    options = {
        "device_id": str(device),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
    }
    for bound, shape in (("min", profile.smallest), ("opt", profile.usual), ("max", profile.largest)):
        options[f"trt_profile_{bound}_shapes"] = f"pixels:{'x'.join(map(str, shape))}"
    return [(PROVIDERS["tensorrt"], options), cuda]


class GpuRuntime:
    """A `Runtime` on GPU number `device`.

    Raises:
        MissingExtra: the installed ONNX Runtime was not built for GPUs.
        InvalidSettings: it was, but a driver or library is missing, or there is no such GPU.
        ModelError: the graph cannot be executed there.
    """

    on_cpu = False

    def __init__(self, graph: Graph, kind: Kind, profile: ShapeProfile, *, device: int, cache: Path) -> None:
        if not provided(kind):
            raise MissingExtra(
                f"engine.runtime = {kind!r} needs ONNX Runtime for GPUs: pip install 'platoon[gpu]', then pip install "
                "--force-reinstall --no-deps onnxruntime-gpu, as it shares its folder with the package onnxruntime"
            )
        if graph.on_host:
            raise ModelError(f"model {graph.model.name} could not be adapted and runs on the CPU only")
        asked = providers(kind, graph, profile, device=device, cache=cache)
        if kind == "tensorrt":
            folder = Path(asked[0][1]["trt_engine_cache_path"])
            try:
                make_folder(folder)
            except OSError as error:
                raise InvalidSettings(f"cannot keep TensorRT's engines in {folder}: {error.strerror}") from error
        onnxruntime.preload_dlls()  # CUDA and cuDNN from their wheels, where they are installed
        self._bound = bound_session(graph, asked, device=device)
        self._profile = profile if kind == "tensorrt" else None
        self.name = f"{kind}, GPU {device}"

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """See `Runtime`. Raises InvalidInput for a shape that the TensorRT engine was not built for."""
        if self._profile is not None and tuple(batch.shape) not in self._profile:
            raise InvalidInput(
                f"pixels of shape {tuple(batch.shape)} lie outside what the TensorRT engine was built for, "
                f"{self._profile.smallest} to {self._profile.largest}"
            )
        return self._bound(batch)

    def prepare(self, shape: Shape) -> None:
        """See `Runtime`: memory is taken and kernels are chosen."""
        self._bound(np.zeros(shape, np.uint8))

    def foreground(self) -> tuple[Self]:
        """Itself."""
        return (self,)

    def background(self) -> tuple[()]:
        """None: executions on one GPU share all of it."""
        return ()

    def close(self) -> None:
        """See `Runtime`."""
        self._bound.close()


def bound_session(graph: Graph, asked: Sequence[Provider], *, device: int) -> BoundSession:
    """A session that runs on the first of the providers `asked` for.

    Raises:
        InvalidSettings: it does not.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            graph.proto, options, providers=[(name, dict(wants)) for name, wants in asked], enable_fallback=0
        )
    except Exception as error:  # its errors share no base
        raise _cannot(asked[0][0], device, str(error)) from error
    got = session.get_providers()[0]
    if got != asked[0][0]:
        raise _cannot(asked[0][0], device, f"it took {got} instead; its own message is above")
    return BoundSession(session)


def _cannot(provider: str, device: int, why: str) -> InvalidSettings:
    return InvalidSettings(
        f"ONNX Runtime cannot use {provider} on GPU {device}: {why.strip(' .')}. It needs an NVIDIA driver (nvidia-smi "
        "shows it), CUDA and cuDNN (pip install 'platoon[gpu]' brings both) and, for TensorRT, its libraries on "
        "LD_LIBRARY_PATH; engine.runtime = 'auto' falls back to the CPU"
    )
