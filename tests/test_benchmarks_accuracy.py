import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmarks import calibration, plateless
from benchmarks.accuracy import PLATOON, RAPIDOCR, aims, false_alarms, keep_worst, read_all, readers
from benchmarks.photographs import Outcome, Photograph, answers, bare, iou, is_at, photographs, score, worst
from hypothesis import given
from hypothesis import strategies as st

from platoon.media.frame import Pixels
from platoon.ocr.picture import load_picture
from platoon.plates.recorded import FoundPlate

PLATE = (100.0, 50.0, 220.0, 80.0)
PHOTOGRAPH = Photograph("eu", Path("a.jpg"), PLATE, "B0I4826")


def found(
    text: str, *others: str, confidence: float = 0.9, box: tuple[int, int, int, int] = (0, 0, 9, 9)
) -> FoundPlate:
    return FoundPlate(text, text, confidence, box, tuple((other, 0.1) for other in (text, *others)))


def outcome(*plates: FoundPlate, photograph: Photograph = PHOTOGRAPH) -> Outcome:
    return Outcome(photograph, plates, 0.25)


class Scripted:
    """Says the same of every picture."""

    def __init__(self, *plates: FoundPlate) -> None:
        self.said, self.asked = plates, 0

    def plates(self, picture: Pixels) -> Sequence[FoundPlate]:
        self.asked += 1
        return self.said


def write_photographs(folder: Path, rows: Sequence[Sequence[Any]]) -> None:
    folder.mkdir(parents=True)
    with (folder / "truth.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([("image", "x", "y", "width", "height", "text"), *rows])
    for row in rows:
        cv2.imwrite(str(folder / row[0]), np.full((120, 300, 3), 90, np.uint8))


@pytest.mark.parametrize(
    ("box", "located", "overlaps"),
    [
        ((100, 50, 220, 80), True, True),
        ((105, 48, 215, 84), True, True),
        ((115, 55, 205, 75), True, True),
        ((115, 60, 205, 72), True, False),  # a line of text on it
        ((110, 40, 215, 60), False, False),  # half of the line lies above
        ((150, 60, 190, 72), False, False),  # a word on it
        ((60, 20, 280, 140), False, False),  # the whole bumper
        ((300, 50, 420, 80), False, False),
    ],
)
def test_a_plate_is_located_as_a_plate_or_as_the_line_on_it(
    box: tuple[int, int, int, int], located: bool, overlaps: bool
) -> None:
    one = outcome(found("X1", box=(400, 90, 410, 99)), found("X2", box=box))
    assert (one.located, one.overlaps) == (located, overlaps)
    assert is_at(box, PLATE) == located


boxes = st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(1, 500), st.floats(1, 500)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


@given(boxes, boxes)
def test_overlap_is_the_same_both_ways_and_one_only_with_itself(one: Any, other: Any) -> None:
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert 0 <= iou(one, other) <= 1 + 1e-9
    assert iou(one, one) == pytest.approx(1)


def test_exact_takes_every_character_folded_takes_o_and_0_as_one() -> None:
    same, twin, other = (outcome(found(text)) for text in ("B0I4826", "BO14826", "B0I4828"))
    assert [(one.exact, one.folded) for one in (same, twin, other)] == [(True, True), (False, True), (False, False)]
    assert not outcome().folded


def test_the_first_three_answers_are_each_plate_and_what_else_it_may_say() -> None:
    plates = [found("AAA111", "AAA112"), found("BBB222"), found("B0I4826")]
    assert answers(plates) == ["AAA111", "AAA112", "BBB222", "B0I4826"]
    assert not outcome(*plates).among_first
    assert outcome(*plates[1:]).among_first


def test_shares_and_time_are_of_all_pictures() -> None:
    right, wrong = outcome(found("B0I4826", box=(100, 50, 220, 80))), outcome()
    found_score = score([right, wrong, wrong, wrong])
    assert (found_score.pictures, found_score.exact, found_score.located, found_score.cpu_ms) == (4, 0.25, 0.25, 250)


def test_the_worst_are_the_surest_of_the_wrong() -> None:
    sure, unsure = (outcome(found("X", confidence=confidence)) for confidence in (0.9, 0.2))
    right = outcome(found("BOI4826", confidence=1.0))
    assert worst([outcome(), unsure, right, sure], 2) == [sure, unsure]


def test_folders_of_countries_and_a_single_one_are_read(tmp_path: Path) -> None:
    write_photographs(tmp_path / "set" / "eu", [("b.png", 10, 20, 30, 8, "ab-12 c"), ("a.png", 1, 2, 3, 4, "X1")])
    write_photographs(tmp_path / "set" / "us", [("c.png", 1, 2, 3, 4, "Y2")])
    both = photographs(tmp_path / "set")
    assert [(one.kind, one.path.name, one.text) for one in both] == [
        ("eu", "a.png", "X1"),
        ("eu", "b.png", "AB12C"),
        ("us", "c.png", "Y2"),
    ]
    assert both[1].box == (10, 20, 40, 28)
    assert [one.kind for one in photographs(tmp_path / "set" / "us")] == ["us"]


def test_a_folder_without_a_truth_or_with_a_broken_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        photographs(tmp_path)
    write_photographs(tmp_path / "eu", [("a.png", "left", 2, 3, 4, "X1")])
    with pytest.raises(ValueError, match=r"truth\.tsv.*left"):
        photographs(tmp_path)


def test_bare_text_has_letters_and_digits_alone() -> None:
    assert bare("b·ä-12 c") == "B12C"


def test_every_photograph_is_read_and_the_first_once_before(tmp_path: Path) -> None:
    write_photographs(tmp_path / "eu", [("a.png", 1, 2, 3, 4, "X1"), ("b.png", 1, 2, 3, 4, "Y2")])
    reader = Scripted(found("X1"))
    outcomes = read_all(reader, photographs(tmp_path))
    assert reader.asked == 3
    assert [one.exact for one in outcomes] == [True, False]


def test_a_false_alarm_is_confident_from_a_preview_on() -> None:
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 4
    assert false_alarms(Scripted(found("X1", confidence=0.3)), pictures) == {"pictures": 4, "read": 4, "confident": 0}
    assert false_alarms(Scripted(found("X1"), found("Y2")), pictures) == {"pictures": 4, "read": 4, "confident": 4}
    assert false_alarms(Scripted(), pictures) == {"pictures": 4, "read": 0, "confident": 0}


def test_the_wrong_are_kept_as_crops_beside_a_list(tmp_path: Path) -> None:
    write_photographs(tmp_path / "eu", [("a.png", 90, 30, 60, 20, "X1"), ("b.png", 0, 0, 30, 9, "Y2")])
    outcomes = [Outcome(one, [found("X1")], 0.1) for one in photographs(tmp_path)]
    keep_worst(outcomes, tmp_path / "worst")
    with (tmp_path / "worst" / "worst.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["picture"], row["truth"], row["read"]) for row in rows] == [("eu/b.png", "Y2", "X1")]
    assert load_picture(tmp_path / "worst" / rows[0]["crop"]).shape == (13, 40, 3)


def test_each_detector_that_is_named_is_measured_beside_rapidocr() -> None:
    assert list(readers(())) == [f"{PLATOON}, plates", f"{PLATOON}, text", RAPIDOCR]
    assert list(readers(("models/one.onnx", "two.onnx"))) == ["platoon, one", "platoon, two", RAPIDOCR]


def test_an_aim_is_missed_by_one_picture_in_a_hundred_too_many() -> None:
    one = {"exact": 0.95}
    results = {
        "read": {PLATOON: {"us": one, "br": {"exact": 0.94}}, RAPIDOCR: {"us": one}},
        "false_alarms": {
            PLATOON: {"roads": {"pictures": 150, "confident": 2}, "pages": {"pictures": 50, "confident": 1}}
        },
    }
    assert [aim["met"] for aim in aims(results)] == [True, False, False]


@given(st.integers(0, 1000), st.lists(boxes, max_size=4))
def test_parts_of_roads_keep_away_from_every_plate(seed: int, plates: list[Any]) -> None:
    part = plateless.away((1280, 720), plateless.PART, plates, seed=seed)
    assert part == plateless.away((1280, 720), plateless.PART, plates, seed=seed)
    if part is not None:
        left, top, right, bottom = part
        assert (right - left, bottom - top) == plateless.PART
        assert left >= 0
        assert top >= 0
        assert right <= 1280
        assert bottom <= 720
        assert all(iou(part, plate) == 0 for plate in plates)


def test_parts_of_roads_are_taken_once_of_each_frame_that_has_room(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    rows: list[tuple[str, ...]] = [("image", "split", "x1", "y1", "x2", "y2")]
    for name, box in (("a.png", (0, 0, 60, 20)), ("b.png", (400, 240, 900, 480)), ("c.png", (1200, 680, 1270, 700))):
        cv2.imwrite(str(tmp_path / "images" / name), np.zeros((720, 1280, 3), np.uint8))
        rows.append((name, "train", *map(str, box)))
    with (tmp_path / "boxes.tsv").open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    parts = list(plateless.road_parts(tmp_path, 5))
    assert len(parts) == 2, "b has a plate everywhere"
    assert {part.shape for part in parts} == {(plateless.PART[1], plateless.PART[0], 3)}
    assert len(list(plateless.road_parts(tmp_path, 1))) == 1
    assert not list(plateless.road_parts(tmp_path / "nowhere"))


def test_streets_are_empty_and_all_different() -> None:
    scenes = plateless.empty_scenes(30)
    assert not any(scene.vehicles for scene in scenes)
    assert len({scene.digest for scene in scenes}) == 30
    assert [scene.digest for scene in plateless.empty_scenes(30)] == [scene.digest for scene in scenes]


def test_the_calibration_error_is_the_distance_of_confidence_and_truth() -> None:
    assert calibration.calibration_error([(0.95, True)] * 19 + [(0.95, False)]) == pytest.approx(0)
    assert calibration.calibration_error([(0.95, False)] * 4 + [(0.05, False)] * 4) == pytest.approx(0.5)


def test_reliability_is_reported_of_bins_and_of_thresholds(tmp_path: Path) -> None:
    for name, confidence in (("accuracy.json", 0.95), ("vehicles.json", 0.55)):
        (tmp_path / name).write_text(json.dumps({"answers": [[confidence, True]] * 3 + [[confidence, False]]}))
    calibration.main(["--results", str(tmp_path)])
    kept = json.loads((tmp_path / "calibration.json").read_text())["of"]
    assert kept["photographs"]["bins"] == [[4, 0.95, 0.75]]
    assert kept["photographs"]["as_sure"]["0.9"] == [4, 3]
    assert kept["clips"]["as_sure"]["0.6"] == [0, 0]
    drawn = sum(len(one["bins"]) for one in kept.values())
    assert (tmp_path / "calibration.svg").read_text().count("<circle") == drawn


def test_without_results_calibration_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"benchmarks\.accuracy"):
        calibration.main(["--results", str(tmp_path)])
