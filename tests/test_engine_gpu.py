"""As far as a machine without a GPU goes: what is asked of ONNX Runtime, and what it answers where there is none."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from platoon.engine import runtime as runtimes
from platoon.engine.binding import BoundSession
from platoon.engine.executor import ShapeProfile
from platoon.engine.gpu import GpuRuntime, Kind, bound_session, provided, providers
from platoon.engine.model import text_recognition
from platoon.engine.runtime import OnnxRuntime, open_runtime
from platoon.engine.surgery import Graph
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidInput, InvalidSettings, MissingExtra, ModelError
from platoon.metrics import Metrics
from platoon.ocr.recognition import PLATE, recognition_graph
from platoon.plates.recogniser import plate_reading_graph
from platoon.settings import EngineSettings

EXTENT = ShapeProfile((1, 48, 320, 3), (16, 48, 320, 3), (16, 48, 3200, 3))
ON_CPU = [("CPUExecutionProvider", dict[str, str]())]
without_gpu = pytest.mark.skipif(provided("cuda"), reason="this ONNX Runtime was built for GPUs")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return recognition_graph(PLATE)[0]


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(11).integers(0, 256, shape, dtype=np.uint8)


class Session:
    """In place of ONNX Runtime's, for a machine with a GPU: notes what it was given."""

    asked: Any
    got: tuple[str, ...] = ()

    def __init__(self, proto: bytes, options: Any, *, providers: Any, enable_fallback: int) -> None:
        assert enable_fallback == 0
        type(self).asked = providers

    def get_providers(self) -> list[str]:
        return list(self.got) or [name for name, _ in self.asked]

    def get_inputs(self) -> list[Any]:
        return [type("Argument", (), {"name": "pixels"})]

    def get_outputs(self) -> list[Any]:
        return []


@pytest.fixture
def with_gpu(monkeypatch: pytest.MonkeyPatch) -> type[Session]:
    class Fresh(Session): ...

    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Fresh)
    return Fresh


def test_cuda_is_asked_not_to_tune_itself_for_every_shape(
    graph: Graph, tmp_path: Path, with_gpu: type[Session]
) -> None:
    runtime = GpuRuntime(graph, "cuda", EXTENT, device=1, cache=tmp_path)
    assert with_gpu.asked == [("CUDAExecutionProvider", {"device_id": "1", "cudnn_conv_algo_search": "DEFAULT"})]
    assert runtime.name == "cuda, GPU 1"


def test_tensorrt_is_asked_for_one_engine_over_all_shapes_kept_in_the_cache(
    graph: Graph, tmp_path: Path, with_gpu: type[Session]
) -> None:
    GpuRuntime(graph, "tensorrt", EXTENT, device=0, cache=tmp_path)
    (name, options), (second, _) = with_gpu.asked
    assert (name, second) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert [options[f"trt_profile_{bound}_shapes"] for bound in ("min", "opt", "max")] == [
        "pixels:1x48x320x3",
        "pixels:16x48x320x3",
        "pixels:16x48x3200x3",
    ]
    folder = tmp_path / "tensorrt" / graph.digest[:16]
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(folder)
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert folder.is_dir()


@pytest.mark.parametrize("shape", [(17, 48, 320, 3), (1, 48, 288, 3), (1, 48, 3232, 3), (1, 64, 320, 3)])
def test_a_shape_that_the_engine_was_not_built_for_is_refused(
    graph: Graph, tmp_path: Path, with_gpu: type[Session], shape: tuple[int, ...]
) -> None:
    runtime = GpuRuntime(graph, "tensorrt", EXTENT, device=0, cache=tmp_path)
    with pytest.raises(InvalidInput, match=r"lie outside .*\(1, 48, 320, 3\) to \(16, 48, 3200, 3\)"):
        runtime(np.zeros(shape, np.uint8))


def test_a_session_that_goes_on_with_the_cpu_is_an_error_that_says_what_is_missing(
    graph: Graph, tmp_path: Path, with_gpu: type[Session]
) -> None:
    with_gpu.got = ("CPUExecutionProvider",)
    with pytest.raises(InvalidSettings, match=r"CUDAExecutionProvider on GPU 3.*CPUExecutionProvider instead.*driver"):
        GpuRuntime(graph, "cuda", EXTENT, device=3, cache=tmp_path)


def test_a_graph_that_could_not_be_adapted_stays_on_the_cpu(tmp_path: Path, with_gpu: type[Session]) -> None:
    model = text_recognition()
    bare = Graph(model, "bare", model.load().SerializeToString(), digest="bare", on_host=(recognition_graph,))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="could not be adapted"):
        GpuRuntime(bare, "cuda", EXTENT, device=0, cache=tmp_path)


@without_gpu
@pytest.mark.parametrize("kind", ["cuda", "tensorrt"])
def test_without_a_build_for_gpus_the_error_names_the_extra(graph: Graph, tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(MissingExtra, match=rf"{kind}.*platoon\[gpu\].*onnxruntime-gpu"):
        GpuRuntime(graph, kind, EXTENT, device=0, cache=tmp_path)
    with pytest.raises(MissingExtra):
        open_runtime(graph, EngineSettings(runtime=kind), Tuning(tmp_path), example=(1, 48, 320, 3))


@without_gpu
@pytest.mark.parametrize("kind", ["cuda", "tensorrt"])
def test_onnx_runtime_itself_is_not_believed_when_it_takes_another_provider(
    graph: Graph, tmp_path: Path, kind: Kind
) -> None:
    asked = providers(kind, graph, EXTENT, device=0, cache=tmp_path)
    with pytest.raises(InvalidSettings, match=asked[0][0]):
        bound_session(graph, asked, device=0)


def test_bound_memory_gives_what_an_ordinary_run_gives(graph: Graph) -> None:
    bound, plain = bound_session(graph, ON_CPU, device=0), OnnxRuntime(graph)
    for pixels in (noise(1, 48, 320, 3), noise(2, 48, 320, 3), noise(1, 48, 320, 3)[..., ::-1]):
        for ours, theirs in zip(bound(pixels), plain(pixels), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_bound_memory_stays_as_it_was_and_outputs_belong_to_the_caller(graph: Graph) -> None:
    bound = bound_session(graph, ON_CPU, device=0)
    pixels = noise(1, 48, 320, 3)
    before = pixels.copy()
    first = bound(pixels)
    kept = [output.copy() for output in first]
    bound(np.zeros_like(pixels))
    np.testing.assert_array_equal(pixels, before)
    for output, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(output, copy)


@pytest.mark.parametrize("made", [recognition_graph()[0], plate_reading_graph()], ids=lambda made: made.name)
def test_outputs_are_what_an_ordinary_run_gives_whether_or_not_their_shape_was_known_before(made: Graph) -> None:
    session = onnxruntime.InferenceSession(made.proto, providers=["CPUExecutionProvider"])
    height, width = [side if isinstance(side, int) else 320 for side in session.get_inputs()[0].shape[1:3]]
    bound = BoundSession(session)
    for count in (2, 1, 3):
        pixels = noise(count, height, width, 3)
        for ours, theirs in zip(bound(pixels), session.run(None, {"pixels": pixels}), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_auto_falls_back_to_the_cpu_and_counts_it(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runtimes, "provided", lambda _: True)
    metrics = Metrics()
    with caplog.at_level(logging.WARNING):
        runtime = open_runtime(graph, EngineSettings(), Tuning(tmp_path), example=(1, 48, 320, 3), metrics=metrics)
    assert runtime.name.startswith(("openvino", "onnxruntime"))
    assert "cuda" in caplog.text
    published = metrics.exposition().decode()
    assert 'platoon_runtime_fallbacks_total{model="plate-recognition",runtime="cuda"} 1.0' in published
    assert f'platoon_model_runtime{{model="plate-recognition",runtime="{runtime.name}"}} 1.0' in published


def test_auto_takes_a_gpu_that_works(graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        name = "cuda, GPU 0"

        def __init__(self, graph: Graph, kind: str, profile: ShapeProfile, **_: Any) -> None:
            assert (kind, profile) == ("cuda", ShapeProfile((1, 48, 320, 3), (1, 48, 320, 3), (16, 48, 320, 3)))

        def __call__(self, batch: NDArray[Any]) -> tuple[NDArray[Any], ...]:
            return (batch,)

    monkeypatch.setattr(runtimes, "provided", lambda _: True)
    monkeypatch.setattr(runtimes, "GpuRuntime", Gpu)
    settings = EngineSettings(max_batch=16)
    assert open_runtime(graph, settings, Tuning(tmp_path), example=(1, 48, 320, 3)).name == "cuda, GPU 0"
    assert not list(tmp_path.iterdir()), "nothing had to be measured"
