"""Telling heads apart and reading them, without any runtime."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from platoon.errors import ModelError
from platoon.plates.heads import DetrHead, EndToEndHead, GridHead, Head, ListHead, class_names, head_of, nms

SIZE = (64, 32)
CELLS = 8 * 4 + 4 * 2 + 2 * 1


def floats(values: list[Any]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def recognise(*shape: int, name: str = "output0", **metadata: str) -> Head:
    return head_of({name: np.zeros(shape, np.float32)}, frames=2, size=SIZE, metadata=metadata)


def test_one_box_per_cell_in_columns_is_yolov8() -> None:
    assert recognise(2, 7, CELLS) == GridHead("output0", classes=3, objectness=False, columns=True)


def test_three_boxes_per_cell_in_rows_is_yolov5() -> None:
    assert recognise(2, 3 * CELLS, 6) == GridHead("output0", classes=1, objectness=True, columns=False)


def test_the_undecoded_grids_that_old_yolov5_exports_carry_are_passed_over() -> None:
    outputs = {"output": np.zeros((2, 3 * CELLS, 6)), "345": np.zeros((2, 3, 4, 8, 6))}
    assert head_of(outputs, frames=2, size=SIZE, metadata={}) == GridHead(
        "output", classes=1, objectness=True, columns=False
    )


def test_rows_of_six_that_are_no_grid_are_end_to_end() -> None:
    assert recognise(2, 300, 6) == EndToEndHead("output0")


def test_keypoints_are_distinguished_from_classes_by_the_metadata() -> None:
    pose = {"task": "pose", "kpt_shape": "[4, 3]"}
    assert recognise(2, 4 + 1 + 12, CELLS, **pose) == GridHead("output0", 1, False, True, point_width=3)
    assert recognise(2, 300, 6 + 12, **pose) == EndToEndHead("output0", point_width=3)


def test_a_list_of_seven_is_end_to_end_even_when_it_is_empty() -> None:
    assert recognise(0, 7) == ListHead("output0")


def test_dets_and_labels_are_rf_detr() -> None:
    outputs = {"dets": np.zeros((2, 300, 4)), "labels": np.zeros((2, 300, 2))}
    assert head_of(outputs, frames=2, size=SIZE, metadata={}) == DetrHead(classes=2, size=SIZE)


@pytest.mark.parametrize(
    ("shape", "metadata"),
    [
        pytest.param((2, CELLS, 6), {}, id="one box per cell in rows, as YOLOX and YOLOv6 write"),
        pytest.param((2, 6, CELLS + 5), {}, id="no grid of this input size"),
        pytest.param((1, 6, CELLS), {}, id="one frame's answer for two frames"),
        pytest.param((2, 1000), {}, id="a classifier"),
        pytest.param((2, 4 + 1 + 32, CELLS), {"names": "{0: 'plate'}"}, id="more values than named classes"),
    ],
)
def test_other_shapes_are_refused_with_what_was_found_and_what_fits(
    shape: tuple[int, ...], metadata: dict[str, str]
) -> None:
    with pytest.raises(ModelError) as error:
        recognise(*shape, **metadata)
    assert f"2 frames of 64x32 gave output0 {list(shape)}" in str(error.value)
    assert "YOLOv8-v11 raw (N, 4 + classes, boxes)" in str(error.value)


def test_a_list_whose_name_spells_another_order_of_columns_is_refused() -> None:
    with pytest.raises(ModelError, match="batchno_classid_x1y1x2y2_score"):
        recognise(5, 7, name="batchno_classid_x1y1x2y2_score")


def test_two_outputs_that_could_both_be_read_are_refused() -> None:
    outputs = {"main": np.zeros((2, 5, CELLS)), "auxiliary": np.zeros((2, 5, CELLS))}
    with pytest.raises(ModelError, match="2 of its outputs"):
        head_of(outputs, frames=2, size=SIZE, metadata={})


@pytest.mark.parametrize("task", ["segment", "obb", "classify"])
def test_models_of_other_tasks_are_refused_by_name(task: str) -> None:
    with pytest.raises(ModelError, match=f"trained to {task}"):
        recognise(2, 5, CELLS, task=task)


@pytest.mark.parametrize("shape", ["[17, 3]", "four", "[4, 1]"])
def test_pose_models_of_other_things_than_four_corners_are_refused(shape: str) -> None:
    with pytest.raises(ModelError, match="four corners"):
        recognise(2, 5 + 51, CELLS, task="pose", kpt_shape=shape)


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ({"names": "{0: 'car', 1: 'plate'}"}, {0: "car", 1: "plate"}),
        ({"names": "['car', 'plate']"}, {0: "car", 1: "plate"}),
        ({"rfdetr_inference": json.dumps({"class_id_to_name": {"1": "plate"}})}, {1: "plate"}),
        ({"names": "car; plate"}, {}),
        ({}, {}),
    ],
)
def test_class_names_are_read_as_exporters_write_them(metadata: dict[str, str], names: dict[int, str]) -> None:
    assert class_names(metadata) == names


def test_a_box_is_scored_by_its_best_wanted_class_times_objectness() -> None:
    rows = np.zeros((1, 3 * CELLS, 8), np.float32)
    rows[0, 5] = [30, 20, 10, 4, 0.5, 1.0, 0.6, 0.8]
    head = recognise(2, 3 * CELLS, 8)
    [found] = head.read({"output0": rows}, frames=1, wanted=[1, 2], min_score=0.3)
    assert found.scores == pytest.approx([0.4])
    assert found.boxes.tolist() == [[25, 18, 35, 22]]


def test_end_to_end_rows_of_other_classes_are_left_out() -> None:
    rows = floats([[[1, 2, 3, 4, 0.9, 0], [5, 6, 7, 8, 0.8, 3]]])
    [found] = EndToEndHead("rows").read({"rows": rows}, frames=1, wanted=[3], min_score=0.5)
    assert found.boxes.tolist() == [[5, 6, 7, 8]]


def test_a_list_is_parted_by_frame_and_frames_of_filling_are_dropped() -> None:
    rows = floats([[1, 5, 6, 7, 8, 0, 0.9], [0, 1, 2, 3, 4, 0, 0.8], [2, 0, 0, 9, 9, 0, 0.9]])
    first, second = ListHead("rows").read({"rows": rows}, frames=2, wanted=None, min_score=0.5)
    assert first.boxes.tolist() == [[1, 2, 3, 4]]
    assert second.boxes.tolist() == [[5, 6, 7, 8]]


@pytest.mark.parametrize("logit", [np.nan, np.inf])
def test_an_rf_detr_logit_that_is_no_number_gives_no_box(logit: float) -> None:
    outputs = {"dets": np.full((1, 2, 4), 0.5, np.float32), "labels": floats([[[logit, 0], [3, -1000]]])}
    [found] = DetrHead(classes=2, size=SIZE).read(outputs, frames=1, wanted=None, min_score=0.1)
    assert found.scores == pytest.approx([1 / (1 + np.exp(-3))])
    assert found.boxes.tolist() == [[16, 8, 48, 24]]


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return float(width * height / union)


@st.composite
def scored_boxes(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    whole = st.integers(0, 12)
    boxes = draw(st.lists(st.tuples(whole, whole, st.integers(1, 9), st.integers(1, 9)), max_size=25))
    scores = draw(st.lists(st.integers(0, 4), min_size=len(boxes), max_size=len(boxes)))
    table = np.array(boxes, np.float32).reshape(-1, 4)
    table[:, 2:] += table[:, :2]
    return table, floats(scores) / np.float32(4)


@given(scored_boxes(), st.sampled_from([0.0, 0.25, 0.5, 0.875]))
def test_nms_keeps_what_the_plain_definition_keeps(
    table: tuple[NDArray[np.float32], NDArray[np.float32]], max_iou: float
) -> None:
    boxes, scores = table
    expected: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        if all(iou(boxes[index], boxes[better]) <= max_iou for better in expected):
            expected.append(index)
    assert nms(boxes, scores, max_iou).tolist() == expected
