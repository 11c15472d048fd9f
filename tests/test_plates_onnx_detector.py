"""Detectors of other people's training, as tiny graphs that box the brightest spot of each frame.

Every graph computes its answer from its input, in the format of one family: a box of 24x8 around the spot,
scored by the spot's normalised value, so that a wrong layout, scale, order or batch gives a wrong box.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from platoon.engine.gate import Gates
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidSettings, ModelError
from platoon.media.frame import Letterbox
from platoon.metrics import Metrics
from platoon.plates.onnx_detector import OnnxPlateDetector
from platoon.settings import EngineSettings

SIDE = 64
CELLS = 8 * 8 + 4 * 4 + 2 * 2
BOX = (24, 8)

Pictures = NDArray[np.uint8]


@dataclass
class Drawing:
    """An ONNX graph being written."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def spot(self, pixels: str, *, planar: bool) -> tuple[str, str, str]:
        """x, y and value of each frame's first brightest pixel, (N, 1) each."""
        grey = self("ReduceMean", pixels, axes=[1 if planar else 3], keepdims=0)
        rows = self("ReduceMax", grey, axes=[2], keepdims=0)
        columns = self("ReduceMax", grey, axes=[1], keepdims=0)
        x, y = (
            self("Cast", self("ArgMax", line, axis=1, keepdims=1), to=TensorProto.FLOAT) for line in (columns, rows)
        )
        return x, y, self("ReduceMax", rows, axes=[1], keepdims=1)

    def row(self, *values: str) -> str:
        """(N, 1, K) from values of (N, 1)."""
        return self("Unsqueeze", self("Concat", *values, axis=1), self.constant([1], np.int64))

    def filled(self, rows: str, total: int, present: int = 1) -> str:
        """The rows with zeros below, (N, total, K)."""
        return self("Pad", rows, self.constant([0, 0, 0, 0, total - present, 0], np.int64))

    def like(self, value: str, number: float) -> str:
        """(N, 1) of `number`."""
        return self("Add", self("Mul", value, self.constant(0)), self.constant(number))

    def plus(self, value: str, number: float) -> str:
        return self("Add", value, self.constant(number))


Spot = tuple[str, str, str]
Family = Callable[[Drawing, Spot], dict[str, str]]


def yolov8(draw: Drawing, spot: Spot) -> dict[str, str]:
    """Three overlapping anchors of which the last is the best."""
    x, y, value = spot
    width, height = (draw.like(value, size) for size in BOX)
    rows = [
        draw.row(draw.plus(x, off), y, width, height, draw("Mul", value, draw.constant(share)))
        for off, share in ((2, 0.8), (-1, 0.9), (0, 1.0))
    ]
    table = draw.filled(draw("Concat", *rows, axis=1), CELLS, present=3)
    return {"output0": draw("Transpose", table, perm=[0, 2, 1])}


def yolov8_two_classes(draw: Drawing, spot: Spot) -> dict[str, str]:
    """A car that scores 0.8 of the value, and a plate elsewhere that scores all of it."""
    x, y, value = spot
    width, height = (draw.like(value, size) for size in BOX)
    nothing, most = draw.like(value, 0), draw("Mul", value, draw.constant(0.8))
    car = draw.row(draw.plus(x, -30), y, width, height, most, nothing)
    plate = draw.row(x, y, width, height, nothing, value)
    table = draw.filled(draw("Concat", car, plate, axis=1), CELLS, present=2)
    return {"output0": draw("Transpose", table, perm=[0, 2, 1])}


def yolov8_pose(draw: Drawing, spot: Spot) -> dict[str, str]:
    """Corners with visibility, from the bottom right anticlockwise, of a plate that leans."""
    x, y, value = spot
    width, height = (draw.like(value, size) for size in BOX)
    corners = [
        part
        for off_x, off_y in ((10, 6), (12, -2), (-10, -6), (-12, 2))
        for part in (draw.plus(x, off_x), draw.plus(y, off_y), draw.like(value, 0.9))
    ]
    table = draw.filled(draw.row(x, y, width, height, value, *corners), CELLS)
    return {"output0": draw("Transpose", table, perm=[0, 2, 1])}


def yolov5(draw: Drawing, spot: Spot) -> dict[str, str]:
    x, y, value = spot
    width, height, certain = (draw.like(value, number) for number in (*BOX, 1))
    return {"output": draw.filled(draw.row(x, y, width, height, value, certain), 3 * CELLS)}


def edges(draw: Drawing, spot: Spot) -> tuple[str, str, str, str]:
    x, y, _ = spot
    return draw.plus(x, -12), draw.plus(y, -4), draw.plus(x, 12), draw.plus(y, 4)


def end_to_end(draw: Drawing, spot: Spot) -> dict[str, str]:
    row = draw.row(*edges(draw, spot), spot[2], draw.like(spot[2], 0))
    return {"output0": draw.filled(row, 300)}


def one_list(draw: Drawing, spot: Spot) -> dict[str, str]:
    """Without the boxes that score nothing, as NMS inside a graph leaves them out."""
    value = spot[2]
    ones = draw.like(value, 1)
    frame = draw.plus(draw("CumSum", ones, draw.constant(0, np.int64)), -1)
    rows = draw("Concat", frame, *edges(draw, spot), draw.like(value, 0), value, axis=1)
    scored = draw("Squeeze", draw("Greater", value, draw.constant(0.01)), draw.constant([1], np.int64))
    return {"output": draw("Compress", rows, scored, axis=0)}


def rf_detr(draw: Drawing, spot: Spot) -> dict[str, str]:
    x, y, value = spot
    share = draw.constant(1 / SIDE)
    width, height, unlikely = (draw.like(value, number) for number in (BOX[0] / SIDE, BOX[1] / SIDE, -9))
    boxes = draw.row(draw("Mul", x, share), draw("Mul", y, share), width, height)
    return {
        "dets": draw.filled(boxes, 30),
        "labels": draw.plus(draw.filled(draw.row(value, unlikely), 30), 0),
    }


PLATE = {"names": "{0: 'licence-plate'}", "task": "detect"}
CAR_AND_PLATE = {"names": "{0: 'car', 1: 'Licence_Plate'}"}
POSE = PLATE | {"task": "pose", "kpt_shape": "[4, 3]"}
FAMILIES = [
    pytest.param(yolov5, PLATE, id="yolov5"),
    pytest.param(yolov8, PLATE, id="yolov8"),
    pytest.param(end_to_end, PLATE, id="end-to-end"),
    pytest.param(one_list, {}, id="list"),
]


@dataclass
class Export:
    """Writes graphs and opens them."""

    folder: Path
    settings: EngineSettings

    def __call__(
        self,
        family: Family,
        metadata: dict[str, str] | None = None,
        *,
        batch: int | str = "batch",
        sides: tuple[int | str, int | str] = (SIDE, SIDE),
        dtype: int = TensorProto.FLOAT,
        planar: bool = True,
        **choices: Any,
    ) -> OnnxPlateDetector:
        draw = Drawing()
        pixels = draw("Cast", "images", to=TensorProto.FLOAT)
        if dtype == TensorProto.UINT8:
            pixels = draw("Mul", pixels, draw.constant(1 / 255))
        outputs = family(draw, draw.spot(pixels, planar=planar))
        shape = [batch, 3, *sides] if planar else [batch, *sides, 3]
        for name, source in outputs.items():
            draw.nodes.append(helper.make_node("Identity", [source], [name]))
        graph = helper.make_graph(
            draw.nodes,
            "spot",
            [helper.make_tensor_value_info("images", dtype, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            draw.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        helper.set_model_props(model, metadata or {})
        path = self.folder / f"{family.__name__}.onnx"
        onnx.save(model, path)
        return self.open(path, **choices)

    def open(self, path: Path, **choices: Any) -> OnnxPlateDetector:
        return OnnxPlateDetector.open(path, self.settings, Tuning(self.folder), Metrics(), Gates.of(2), **choices)


@pytest.fixture
def export(tmp_path: Path) -> Export:
    return Export(tmp_path, EngineSettings(runtime="onnxruntime", threads=1, max_batch=4))


def frames(*spots: tuple[int, int, int], size: tuple[int, int] = (SIDE, SIDE)) -> Pictures:
    """Pictures of (width, height) `size` that are 120 grey but for one brighter pixel at x, y."""
    batch = np.full((len(spots), size[1], size[0], 3), 120, np.uint8)
    for picture, (x, y, value) in zip(batch, spots, strict=True):
        picture[y, x] = value
    return batch


SPOTS = ((20, 30, 250), (40, 9, 200), (31, 50, 153), (18, 18, 255), (45, 44, 230))


def around(x: float, y: float) -> NDArray[np.float64]:
    """The quad of the box around a spot."""
    return np.array([[x - 12, y - 4], [x + 12, y - 4], [x + 12, y + 4], [x - 12, y + 4]])


def seen(found: list[list[Any]]) -> list[list[tuple[float, ...]]]:
    return [[(*box.quad.mean(axis=0).round(3), round(box.score, 4)) for box in boxes] for boxes in found]


EXPECTED = [[(x, y, round(value / 255, 4))] for x, y, value in SPOTS]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(("family", "metadata"), FAMILIES)
def test_each_family_finds_the_spot_of_each_frame(
    tmp_path: Path, family: Family, metadata: dict[str, str], runtime: str
) -> None:
    settings = EngineSettings.model_validate({"runtime": runtime, "threads": 1, "max_batch": 4})
    detector = Export(tmp_path, settings)(family, metadata)
    found = detector.find(frames(*SPOTS))
    assert seen(found) == EXPECTED
    np.testing.assert_allclose(found[0][0].quad, around(20, 30), atol=1e-3)


@pytest.mark.parametrize("batch", [1, 2, 4, 8])
@pytest.mark.parametrize(("family", "metadata"), FAMILIES)
def test_a_fixed_batch_is_filled_up_and_any_number_of_frames_may_be_given(
    export: Export, family: Family, metadata: dict[str, str], batch: int
) -> None:
    detector = export(family, metadata, batch=batch)
    assert detector.capacity.batch == batch
    assert seen(detector.find(frames(*SPOTS))) == EXPECTED


def test_no_frames_give_no_boxes(export: Export) -> None:
    assert export(yolov8, PLATE).find(frames()) == []


@pytest.mark.parametrize("planar", [True, False])
@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8])
def test_pixels_arrive_in_the_type_and_the_layout_that_the_graph_takes(
    export: Export, dtype: int, planar: bool
) -> None:
    found = seen(export(yolov8, PLATE, dtype=dtype, planar=planar).find(frames(*SPOTS)))
    assert [boxes[0][:2] for boxes in found] == [spot[:2] for spot in SPOTS]
    assert [boxes[0][2] for boxes in found] == pytest.approx([spot[2] / 255 for spot in SPOTS], abs=1e-3)


def test_a_graph_of_any_size_gets_the_size_that_is_set(export: Export) -> None:
    detector = export(end_to_end, PLATE, sides=("height", "width"), size=(160, 96))
    assert detector.input_size == (160, 96)
    assert seen(detector.find(frames((150, 40, 204), size=(160, 96)))) == [[(150, 40, 0.8)]]


def test_corners_become_a_quad_clockwise_from_the_top_left(export: Export) -> None:
    [[box]] = export(yolov8_pose, POSE).find(frames((30, 30, 250)))
    np.testing.assert_allclose(box.quad, [[20, 24], [42, 28], [40, 36], [18, 32]], atol=1e-3)


def test_boxes_map_back_to_the_frame_through_its_letterbox(export: Export) -> None:
    letterbox = Letterbox.fit((128, 72), (SIDE, SIDE))
    scaled = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    scaled[0, : letterbox.height, : letterbox.width] = frames((50, 20, 250), size=(64, 36))[0]
    [[box]] = export(yolov8, PLATE).find(scaled)
    np.testing.assert_allclose(letterbox.to_frame(box.quad), around(50, 20) * 2, atol=1e-3)


@pytest.mark.parametrize(("lit", "padding"), [((50, SIDE), (50, 0)), ((SIDE, 36), (0, 36))])
def test_yolo_sees_grey_padding_and_the_given_batch_stays_as_it_was(
    export: Export, lit: tuple[int, int], padding: tuple[int, int]
) -> None:
    batch = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    batch[0, : lit[1], : lit[0]] = 10
    before = batch.copy()
    found = export(yolov8, PLATE, min_score=0.1).find(batch)
    assert seen(found) == [[(*padding, round(114 / 255, 4))]]  # nothing in the picture is brighter
    np.testing.assert_array_equal(batch, before)


def test_rf_detr_gets_camera_shaped_frames_squeezed_to_its_square_and_normalised(export: Export) -> None:
    detector = export(rf_detr, {})
    assert detector.input_size == (114, 64)
    batch = frames((0, 0, 120), size=(114, 64))
    batch[0, 30:34, 57:66] = 240
    [[box]] = detector.find(batch)
    logit = np.mean((240 / 255 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225])
    assert box.score == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-3)
    np.testing.assert_allclose(box.quad, around(0, 0) * [114 / 64, 1] + (57, 30), atol=2)


def test_of_several_classes_only_plates_count(export: Export) -> None:
    assert seen(export(yolov8_two_classes, CAR_AND_PLATE).find(frames(SPOTS[4]))) == [EXPECTED[4]]


@pytest.mark.parametrize("classes", [["car", "licence_plate"], ["0", "1"]])
def test_classes_are_chosen_by_name_or_number(export: Export, classes: list[str]) -> None:
    [boxes] = seen(export(yolov8_two_classes, CAR_AND_PLATE, classes=classes).find(frames(SPOTS[4])))
    assert boxes == [(45, 44, 0.902), (15, 44, 0.7216)]


@pytest.mark.parametrize(
    ("metadata", "known"), [({"names": "['car', 'bus']"}, "0 car, 1 bus"), ({}, "2, without names")]
)
def test_where_no_class_is_called_a_plate_the_error_lists_them_and_names_the_setting(
    export: Export, metadata: dict[str, str], known: str
) -> None:
    with pytest.raises(ModelError, match=rf"plates\.classes .*{known}"):
        export(yolov8_two_classes, metadata)


@pytest.mark.parametrize("wrong", ["lorry", "2", "-1"])
def test_a_class_that_the_model_does_not_have_is_an_error_of_settings(export: Export, wrong: str) -> None:
    with pytest.raises(InvalidSettings, match=rf"plates\.classes is {wrong}; .*0 car, 1 Licence_Plate"):
        export(yolov8_two_classes, CAR_AND_PLATE, classes=[wrong])


def test_values_that_are_no_numbers_are_ignored(export: Export) -> None:
    def broken(draw: Drawing, spot: Spot) -> dict[str, str]:
        value = spot[2]
        zero = draw.like(value, 0)
        infinite = draw("Div", value, zero)
        nan = draw("Div", zero, zero)
        left, top, right, bottom = edges(draw, spot)
        rows = [
            draw.row(left, top, right, bottom, infinite, zero),
            draw.row(left, top, right, bottom, nan, zero),
            draw.row(left, nan, right, bottom, value, zero),
            draw.row(left, top, infinite, bottom, value, zero),
            draw.row(right, bottom, left, top, value, zero),
            draw.row(left, top, right, bottom, value, zero),
        ]
        return {"output0": draw("Concat", *rows, axis=1)}

    assert seen(export(broken, PLATE).find(frames(SPOTS[0]))) == [EXPECTED[0]]


def test_a_batch_that_only_claims_to_be_dynamic_is_refused(export: Export) -> None:
    def stiff(draw: Drawing, spot: Spot) -> dict[str, str]:
        table = yolov8(draw, spot)["output0"]
        return {"output0": draw("Reshape", table, draw.constant([1, 5, CELLS], np.int64))}

    with pytest.raises(ModelError, match=r"stiff\.onnx cannot detect plates"):
        export(stiff, PLATE)


def test_a_head_that_is_not_known_is_refused_with_what_was_found_and_what_fits(export: Export) -> None:
    def classifier(draw: Drawing, spot: Spot) -> dict[str, str]:
        return {"probabilities": draw("Concat", *spot, axis=1)}

    with pytest.raises(ModelError, match=r"classifier\.onnx .* gave probabilities \[2, 3\]; what fits: YOLOv5"):
        export(classifier)


def test_an_input_that_is_no_picture_is_refused_with_what_was_found_and_what_fits(export: Export) -> None:
    with pytest.raises(ModelError, match=r"takes double .*64, 64\]; what fits is one input, \(N, 3, height"):
        export(yolov8, dtype=TensorProto.DOUBLE)


def test_a_file_that_is_no_graph_is_refused_by_name(export: Export, tmp_path: Path) -> None:
    path = tmp_path / "weights.onnx"
    path.write_bytes(b"PK\x03\x04 a torch checkpoint")
    with pytest.raises(ModelError, match=r"weights\.onnx is not in the ONNX format"):
        export.open(path)


def test_warming_up_and_closing_leave_the_answers_alone(export: Export) -> None:
    detector = export(yolov8, PLATE, batch=2)
    detector.warm_up()
    assert seen(detector.find(frames(*SPOTS))) == EXPECTED
    detector.close()
