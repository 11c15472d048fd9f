"""What the plate reader is trained with, as far as it needs no fonts and no PyTorch."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from training.draw.photograph import Photograph
from training.draw.plates import DrawnPlate
from training.reader import ALPHABET, HEIGHT, NONE, POSITIONS, WIDTH, data, views
from training.reader.data import Pool, cut, jittered, labels_of
from training.reader.measure import likeliest, measure_folder
from training.reader.views import CORNERS, VIEW_HEIGHT, VIEW_WIDTH, photographed

from platoon.engine.model import text_detection, text_recognition


def plate(number: int) -> DrawnPlate:
    picture = np.full((100, 300, 3), 230, np.uint8)
    text = f"AB{number:04}"
    cv2.putText(picture, text, (20, 70), cv2.FONT_HERSHEY_DUPLEX, 2, (20, 20, 20), 4)
    return DrawnPlate(picture, text, "XX", 1)


@pytest.fixture(autouse=True)
def plates_without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(rng: np.random.Generator, **_: object) -> DrawnPlate:
        return plate(int(rng.integers(10_000)))

    monkeypatch.setattr(data, "draw_plate", draw)


def test_labels_are_the_characters_and_then_none() -> None:
    assert labels_of("A9").tolist() == [0, 35, *[NONE] * (POSITIONS - 2)]
    with pytest.raises(ValueError, match="at most 10"):
        labels_of("ABCDEFGHIJK")


def test_a_pool_that_was_interrupted_goes_on_with_the_same_views(tmp_path: Path) -> None:
    whole = Pool(tmp_path / "whole", 6, seed=3)
    whole.grow(9)
    parts = Pool(tmp_path / "parts", 6, seed=3)
    parts.grow(5)
    state = parts.state()
    again = Pool(tmp_path / "parts", 6, seed=3)
    again.restore(state)
    again.grow(4)
    expected, restored = (pool.take(np.random.default_rng(0), 20) for pool in (whole, again))
    for one, other in zip(expected, restored, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_view_has_the_plate_at_its_corners(monkeypatch: pytest.MonkeyPatch) -> None:
    corners = np.array([[40, 30], [120, 42], [118, 66], [42, 56]], np.float32)
    scene = np.zeros((100, 160, 3), np.uint8)
    cv2.fillConvexPoly(scene, corners.astype(np.int32), (255, 255, 255))
    monkeypatch.setattr(views, "photograph", lambda *_, **__: Photograph(scene, corners))
    view = photographed(np.random.default_rng(0), plate(1), 0)
    assert view.shape == (VIEW_HEIGHT, VIEW_WIDTH, 3)
    expected = np.zeros(view.shape[:2], np.uint8)
    cv2.fillConvexPoly(expected, CORNERS.astype(np.int32), 255)
    assert (cv2.absdiff(view[..., 0], expected) > 128).mean() < 0.03


def test_cuts_keep_the_plate_within_them() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        corners = jittered(rng)
        inner = CORNERS.mean(0) + (CORNERS - CORNERS.mean(0)) * 0.8
        assert all(cv2.pointPolygonTest(corners, tuple(map(float, point)), False) > 0 for point in inner)
        assert corners.min() > -0.2 * WIDTH
        assert (corners.max(0) < (1.2 * VIEW_WIDTH, 1.2 * VIEW_HEIGHT)).all()
    assert cut(rng, np.zeros((VIEW_HEIGHT, VIEW_WIDTH, 3), np.uint8)).shape == (HEIGHT, WIDTH, 3)


def said(*positions: dict[str, float]) -> NDArray[np.float32]:
    probabilities = np.zeros((POSITIONS, NONE + 1), np.float32)
    probabilities[:, NONE] = 1.0
    for place, candidates in zip(probabilities, positions, strict=False):
        place[NONE] = 1.0 - sum(candidates.values())
        for character, probability in candidates.items():
            place[ALPHABET.index(character)] = probability
    return probabilities


def test_the_likeliest_texts_come_best_first() -> None:
    assert likeliest(said({"A": 0.9, "4": 0.1}, {"B": 0.6, "8": 0.4}))[:3] == ("AB", "A8", "4B")


def test_texts_that_differ_only_in_where_nothing_stands_are_one() -> None:
    assert likeliest(said({"A": 1.0}, {"B": 0.5}, {"B": 0.5}))[0] == "AB"


def test_photographs_are_measured_by_the_texts_in_their_table(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((50, 90, 3), np.uint8))
    (tmp_path / "truth.tsv").write_text(
        "image\tx\ty\twidth\theight\ttext\na.png\t5\t5\t60\t20\tA0\na.png\t0\t0\t90\t50\tAO\na.png\t9\t9\t9\t9\tB\n"
    )

    def read(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        assert pictures.shape == (3, HEIGHT, WIDTH, 3)
        return np.stack([said({"A": 1.0}, {"O": 0.8, "0": 0.2})] * 3)

    assert measure_folder(read, tmp_path).figures() == {"of": 3, "exact": 1, "folded": 2, "top3": 2}


def test_the_features_are_those_of_the_recogniser() -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: `pip install 'platoon[training]'`")
    from training.reader.features import CHANNELS, Features

    recogniser = text_recognition().path
    features = Features()
    features.load(recogniser)
    theirs = onnx.load(recogniser)
    (pooled,) = [node for node in theirs.graph.node if node.op_type == "AveragePool"]
    theirs.graph.output.append(onnx.helper.make_empty_tensor_value_info(pooled.input[0]))
    line = np.random.default_rng(0).normal(size=(1, 3, 48, 160)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(theirs.SerializeToString()).run([pooled.input[0]], {"x": line})
    with torch.no_grad():
        seen = features(torch.from_numpy(line)).numpy()
    assert seen.shape == (1, CHANNELS, 3, 40)
    np.testing.assert_allclose(seen, expected, atol=1e-3)


def test_other_weights_than_the_recognisers_are_refused() -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: `pip install 'platoon[training]'`")
    from training.reader.features import Features

    with pytest.raises(ValueError, match="is no PP-OCRv6 small recogniser"):
        Features().load(text_detection().path)
