import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from platoon.engine.model import Model, text_detection, text_recognition
from platoon.engine.runtime import OnnxRuntime, OpenVinoRuntime
from platoon.engine.surgery import Adaptation, AnyBatch, FixInputs, Graph, KeepClasses, PixelInput, TopClasses, adapt
from platoon.ocr import detection, recognition

RUNTIMES = [OpenVinoRuntime, OnnxRuntime]
PIXELS = PixelInput(mean=(0.1, 0.4, 0.7), std=(0.2, 0.3, 0.4), bgr=True)
CLASSES = (0, 17, 4000, 18_709)


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def in_numpy(model: Model, *adaptations: Adaptation) -> Graph:
    """What `adapt` falls back to: the bare graph with all the work around it."""
    return Graph(model, model.name, model.load().SerializeToString(), digest="bare", on_host=adaptations)


def run(runtime: Any, graph: Graph, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], ...]:
    outputs: tuple[NDArray[Any], ...] = runtime(graph)(pixels)
    return outputs


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("bgr", [True, False])
def test_the_detector_gives_the_same_map_when_it_takes_pixels(runtime: Any, bgr: bool) -> None:
    change = PixelInput(mean=(0.1, 0.4, 0.7), std=(0.2, 0.3, 0.4), bgr=bgr)
    grafted, around = adapt(text_detection(), change), in_numpy(text_detection(), change)
    assert not grafted.on_host
    pixels = noise(2, 64, 96, 3)
    np.testing.assert_allclose(run(runtime, grafted, pixels)[0], run(runtime, around, pixels)[0], atol=1e-4)


def test_the_order_of_channels_matters_to_the_detector() -> None:
    picture = np.full((1, 64, 160, 3), (0, 0, 160), np.uint8)
    cv2.putText(picture[0], "RED", (20, 45), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (160, 0, 0), 3)
    maps = [
        run(OpenVinoRuntime, adapt(text_detection(), replace(detection.INPUT, bgr=bgr)), picture)[0]
        for bgr in (False, True)
    ]
    assert np.abs(maps[0] - maps[1]).max() > 1e-2


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_kept_classes_score_as_they_do_among_all_of_them(runtime: Any) -> None:
    changes = (recognition.INPUT, KeepClasses(CLASSES))
    pixels = noise(2, 48, 320, 3)
    scores = run(runtime, adapt(text_recognition(), *changes), pixels)[0]
    assert scores.shape == (2, 40, len(CLASSES))
    np.testing.assert_allclose(scores.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_allclose(scores, run(runtime, in_numpy(text_recognition(), *changes), pixels)[0], atol=1e-3)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_top_classes_are_those_of_the_whole_map(runtime: Any) -> None:
    pixels = noise(1, 48, 320, 3)
    whole = run(runtime, adapt(text_recognition(), recognition.INPUT), pixels)[0]
    classes, scores = run(runtime, adapt(text_recognition(), recognition.INPUT, TopClasses(4)), pixels)
    assert (classes.dtype.name, scores.dtype.name, classes.shape) == ("int32", "float32", (1, 40, 4))
    np.testing.assert_allclose(scores, np.sort(whole, axis=-1)[..., :-5:-1], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(whole, classes, axis=-1), scores, atol=1e-6)


def test_the_top_classes_in_numpy_are_sorted() -> None:
    scores = np.array([[[0.1, 0.5, 0.0, 0.4], [0.7, 0.1, 0.2, 0.0]]], np.float32)
    classes, best = TopClasses(3).finish((scores,))
    assert classes.tolist() == [[[1, 3, 0], [0, 2, 1]]]
    np.testing.assert_array_equal(best, np.array([[[0.5, 0.4, 0.1], [0.7, 0.2, 0.1]]], np.float32))


def test_kept_classes_without_any_probability_do_not_divide_by_zero() -> None:
    kept = KeepClasses((1, 2)).finish((np.array([[[1, 0, 0]]], np.float32),))[0]
    assert np.isfinite(kept).all()


def graph_file(folder: Path, *, terms: Sequence[str] = ("product", "bias"), detour: bool = False) -> Model:
    """A tiny classifier of rows: convolution, mean, linear layer, softmax; written in odd ways, if asked to."""
    random = np.random.default_rng(1)
    constants = {
        "kernel": random.normal(size=(4, 3, 1, 1)).astype(np.float32),
        "weight": random.normal(size=(4, 6)).astype(np.float32),
        "bias": random.normal(size=6).astype(np.float32),
    }
    nodes = [
        *([helper.make_node("Identity", ["x"], ["x again"])] if detour else []),
        helper.make_node("Conv", ["x again" if detour else "x", "kernel"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["rows"], axes=[3], keepdims=0),
        helper.make_node("Transpose", ["rows"], ["steps"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["steps", "weight"], ["product"]),
        helper.make_node("Add", list(terms), ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", "H", 6])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    file = folder / "tiny.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), file)
    return Model.from_path(file)


def test_a_graph_that_fits_is_grafted(tmp_path: Path) -> None:
    model = graph_file(tmp_path)
    changes = (PIXELS, KeepClasses((5, 0, 2)), TopClasses(2))
    graph = adapt(model, *changes)
    assert not graph.on_host
    pixels = noise(3, 8, 10, 3)
    for ours, theirs in zip(
        run(OnnxRuntime, graph, pixels), run(OnnxRuntime, in_numpy(model, *changes), pixels), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"terms": ["bias", "product"]}, "its end is bias, where MatMul was expected"),
        ({"detour": True}, "its input goes to Identity"),
    ],
    ids=["sum turned round", "input copied first"],
)
def test_an_unexpected_graph_runs_as_it_is_with_the_same_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any], reason: str
) -> None:
    changes = (PIXELS, KeepClasses((5, 0, 2)), TopClasses(2))
    expected = run(OnnxRuntime, adapt(graph_file(tmp_path), *changes), noise(3, 8, 10, 3))
    with caplog.at_level(logging.WARNING):
        graph = adapt(graph_file(tmp_path, **change), *changes)
    assert graph.on_host
    assert reason in caplog.text
    classes, scores = run(OnnxRuntime, graph, noise(3, 8, 10, 3))
    np.testing.assert_array_equal(classes, expected[0])
    np.testing.assert_allclose(scores, expected[1], atol=1e-5)


def test_each_adaptation_of_a_model_has_its_own_digest() -> None:
    digests = {
        adapt(text_detection()).digest,
        adapt(text_detection(), detection.INPUT).digest,
        adapt(text_detection(), PIXELS).digest,
        adapt(text_recognition()).digest,
    }
    assert len(digests) == 4
    assert adapt(text_detection(), PIXELS).digest in digests


def one_item_graph(folder: Path, shape: Sequence[int], *, second: str = "weights") -> Model:
    """x, (1, 2, 3), and a second input; their product, with `shape`."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", second], ["product"]), helper.make_node("Reshape", ["product", "shape"], ["y"])],
        "one item",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3]),
            helper.make_tensor_value_info(second, TensorProto.FLOAT, [1, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))],
        [numpy_helper.from_array(np.array(shape, np.int64), "shape")],
    )
    path = folder / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return Model.from_path(path)


def test_a_graph_for_one_item_takes_any_number_of_them_and_inputs_that_never_change_are_part_of_it(
    tmp_path: Path,
) -> None:
    graph = adapt(one_item_graph(tmp_path, (1, 6)), AnyBatch(), FixInputs((("weights", (1.0, 2.0, 3.0)),)))
    assert not graph.on_host
    session = onnxruntime.InferenceSession(graph.proto, providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": np.ones((4, 2, 3), np.float32)})
    assert answer.tolist() == [[1, 2, 3, 1, 2, 3]] * 4


@pytest.mark.parametrize(
    ("shape", "adaptation"), [((2, 3), AnyBatch()), ((1, 6), FixInputs((("no such input", (1.0,)),)))]
)
def test_what_does_not_fit_the_graph_is_not_grafted(
    tmp_path: Path, shape: tuple[int, ...], adaptation: Adaptation
) -> None:
    assert adapt(one_item_graph(tmp_path, shape), adaptation).on_host == (adaptation,)
