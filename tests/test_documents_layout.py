import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from platoon.documents.layout import LayoutModel, Region, fitted, layout_model
from platoon.documents.layout_heads import best, labels_of
from platoon.documents.page import Label
from platoon.engine.batcher import Priority
from platoon.engine.gate import Gates
from platoon.engine.model import Model
from platoon.engine.request_context import RequestContext
from platoon.engine.runtime import OnnxRuntime
from platoon.errors import ModelError, Unavailable
from platoon.media.frame import Pixels
from platoon.metrics import Metrics
from platoon.settings import EngineSettings

SETTINGS = EngineSettings(runtime="onnxruntime", max_batch=2)
LINE = "The quick brown fox jumps over the lazy dog and runs away"


def article() -> Pixels:
    """A page with a title, two paragraphs and a number below."""
    drawn = np.full((1600, 1200, 3), 255, np.uint8)
    cv2.putText(drawn, "1  Introduction", (150, 200), cv2.FONT_HERSHEY_TRIPLEX, 1.6, (0, 0, 0), 3)
    for top in (280, 700):
        for row in range(9):
            cv2.putText(drawn, LINE, (150, top + 36 * row), cv2.FONT_HERSHEY_COMPLEX, 0.88, (0, 0, 0), 1)
    cv2.putText(drawn, "17", (590, 1520), cv2.FONT_HERSHEY_COMPLEX, 0.8, (0, 0, 0), 1)
    return drawn


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LayoutModel]:
    model = LayoutModel(SETTINGS, tmp_path_factory.mktemp("layout"), Metrics(), Gates.of(1))
    yield model
    model.close()


def found(model: LayoutModel, pictures: Sequence[Pixels]) -> list[list[Region]]:
    with RequestContext(Priority.INTERACTIVE, math.inf) as call:
        return [reply.result() for reply in model.submit(pictures, call)]


def test_titles_and_paragraphs_are_found_where_they_are(model: LayoutModel) -> None:
    (regions,) = found(model, [article()])
    title = next(region for region in regions if region.label is Label.TITLE)
    assert 130 < title.box[0] < 170
    assert 150 < (title.box[1] + title.box[3]) / 2 < 210
    texts = [region.box for region in regions if region.label is Label.TEXT]
    for top, bottom in ((260, 575), (680, 995)):
        assert any(abs(box[1] - top) < 30 and abs(box[3] - bottom) < 45 for box in texts), texts


def test_a_page_has_the_same_regions_alone_and_in_company(tmp_path: Path) -> None:
    graph = fitted(layout_model()).graph
    page = cv2.resize(article(), (608, 800), interpolation=cv2.INTER_AREA)
    runtime = OnnxRuntime(graph)
    together = runtime(np.stack([page, page[::-1]]))
    for alone, company in zip(runtime(page[None]), together, strict=True):
        np.testing.assert_allclose(alone[0], company[0], atol=1e-4)


def test_a_closed_model_says_so(tmp_path: Path) -> None:
    model = LayoutModel(SETTINGS, tmp_path, Metrics(), Gates.of(1))
    model.close()
    with pytest.raises(Unavailable, match="the layout model is closed"):
        found(model, [article()])


def constant_model(
    path: Path, rows: np.ndarray, *, inputs: dict[str, list[int]], names: dict[str, str], wanted: str = "image"
) -> Path:
    """A detector that says the same of every picture: its outputs are `rows`, and its inputs are all looked at."""
    nodes = [helper.make_node("ReduceMean", [wanted], ["mean"], keepdims=0)]
    nodes += [helper.make_node("ReduceMean", [name], [f"{name}.mean"], keepdims=0) for name in inputs]
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    nodes.append(helper.make_node("Add", ["rows", "nothing"], ["found"]))
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, list(rows.shape))],
        [
            numpy_helper.from_array(rows.astype(np.float32), "rows"),
            numpy_helper.from_array(np.zeros((), np.float32), "zero"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(proto, names)
    onnx.save(proto, path)
    return path


def test_a_detector_of_paddles_with_its_postprocessing_is_understood(tmp_path: Path) -> None:
    path = constant_model(
        tmp_path / "pp.onnx",
        np.array([[1, 0.9, 64, 32, 320, 96], [0, 0.8, 64, 320, 576, 620], [0, 0.1, 0, 0, 9, 9]]),
        inputs={"im_shape": [1, 2], "image": [1, 3, 640, 640], "scale_factor": [1, 2]},
        names={"character": "text\ndoc_title"},
    )
    model = LayoutModel(SETTINGS, tmp_path, Metrics(), Gates.of(1), path=path)
    first, second = found(model, [np.zeros((1280, 640, 3), np.uint8), np.zeros((640, 1280, 3), np.uint8)])
    model.close()
    assert [(region.label, region.box) for region in first] == [
        (Label.TITLE, (64, 64, 320, 192)),
        (Label.TEXT, (64, 640, 576, 1240)),
    ]
    assert second[0].box == (128, 32, 640, 96)


def test_a_yolo_that_ends_without_postprocessing_to_do_is_understood(tmp_path: Path) -> None:
    path = constant_model(
        tmp_path / "yolo.onnx",
        np.array([[[64, 32, 320, 96, 0.9, 1], [0, 0, 9, 9, 0.1, 0]]]),
        inputs={"image": [1, 3, 640, 640]},
        names={"names": "{0: 'plain text', 1: 'isolate_formula'}"},
    )
    model = LayoutModel(SETTINGS, tmp_path, Metrics(), Gates.of(1), path=path)
    (regions,) = found(model, [np.zeros((1280, 640, 3), np.uint8)])
    model.close()
    assert [(region.label, region.box) for region in regions] == [(Label.EQUATION, (128, 64, 640, 192))]


@pytest.mark.parametrize(
    ("rows", "names", "what"),
    [
        ([[0.0] * 6], {"character": "cat\ndog"}, "cat, dog: none is known"),
        ([[0.0] * 6], {}, "without names"),
        ([[0.0] * 6], {"names": "{0: open"}, "cannot be read"),
        ([[[0.0] * 7]], {"character": "text"}, "those of no layout detector"),
    ],
)
def test_what_is_no_layout_model_is_refused(
    tmp_path: Path, rows: list[list[float]], names: dict[str, str], what: str
) -> None:
    inputs = {"image": [1, 3, 64, 64]} | ({"scale_factor": [1, 2]} if len(rows[0]) == 6 else {})
    path = constant_model(tmp_path / "odd.onnx", np.array(rows), inputs=inputs, names=names)
    with pytest.raises(ModelError, match=what) as error:
        fitted(Model.from_path(path))
    assert "odd.onnx" in str(error.value)


def test_the_names_of_well_known_classes_are_understood() -> None:
    doclaynet = "Caption Footnote Formula List-item Page-footer Page-header Picture Section-header Table Text Title"
    assert labels_of({"character": doclaynet.replace(" ", "\n")}) == [
        Label.FIGURE_CAPTION,
        Label.FOOTER,
        Label.EQUATION,
        Label.TEXT,
        Label.FOOTER,
        Label.HEADER,
        Label.FIGURE,
        Label.TITLE,
        Label.TABLE,
        Label.TEXT,
        Label.TITLE,
    ]


def test_of_two_that_overlap_the_surer_stays_whatever_its_class() -> None:
    candidates = np.array(
        [[0, 0, 0.5, 0.5, 0.6, 0], [0, 0, 0.5, 0.45, 0.9, 3], [0.6, 0, 1, 1, 0.5, 1], [0, 0.9, 1, 1, 0.2, 1]],
        np.float32,
    )
    assert best(candidates, min_score=0.4, max_iou=0.5)[:, 4].tolist() == pytest.approx([0.9, 0.5])
    assert best(candidates, min_score=0.95, max_iou=0.5).shape == (0, 6)
