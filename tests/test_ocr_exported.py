from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from platoon.engine.model import Model
from platoon.engine.surgery import PixelInput
from platoon.errors import ModelError
from platoon.ocr import detection
from platoon.ocr.detection import detection_graph
from platoon.ocr.exported import Export, exported
from platoon.ocr.recognition import PLATE, recognition_graph
from platoon.ocr.served import served
from platoon.settings import EngineSettings

DETECTION = """
PreProcess:
  transform_ops:
  - DecodeImage: {channel_first: false, img_mode: RGB}
  - DetLabelEncode: null
  - NormalizeImage: {mean: [0.1, 0.2, 0.3], order: hwc, scale: 1./255., std: [0.5, 0.25, 0.125]}
  - ToCHWImage: null
PostProcess: {name: DBPostProcess, thresh: 0.3}
"""
RECOGNITION = """
PreProcess:
  transform_ops:
  - DecodeImage: {channel_first: false, img_mode: BGR}
  - RecResizeImg:
      image_shape:
      - 3
      - 48
      - 320
PostProcess:
  name: CTCLabelDecode
  character_dict:
  - '0'
  - 1
  - y
  - null
  - ~
  - 'é'
  - "\\u3000"
"""


def model(folder: Path, described: str | None, shape: tuple[Any, ...] = ("N", 1, "H", "W")) -> Path:
    """An ONNX file of a graph with an output of this shape, beside what is said of it."""
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, shape)
    pixels = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["out"])], "graph", [pixels], [out])
    folder.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph), folder / "mine.onnx")
    if described is not None:
        (folder / "inference.yml").write_text(described, encoding="utf-8")
    return folder / "mine.onnx"


def described(folder: Path, text: str | None, task: Any = "DBPostProcess") -> Export:
    return exported(Model.from_path(model(folder, text)), task, detection.INPUT)


def test_how_pixels_are_normalised_is_as_the_model_says(tmp_path: Path) -> None:
    assert described(tmp_path, DETECTION).pixels == PixelInput((0.1, 0.2, 0.3), (0.5, 0.25, 0.125), bgr=False)


@pytest.mark.parametrize("scale", ["1./255.", "1/255", "0.5", "1"])
def test_whatever_pixels_are_multiplied_by_the_input_is_the_same_as_in_paddleocr(scale: str, tmp_path: Path) -> None:
    over, _, under = scale.partition("/")
    factor = float(over) / float(under or 1)
    pixels = described(tmp_path, DETECTION.replace("1./255.", scale).replace("RGB", "BGR")).pixels
    assert pixels is not None
    picture = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), np.uint8)
    theirs = (picture[..., ::-1] * factor - [0.1, 0.2, 0.3]) / [0.5, 0.25, 0.125]
    np.testing.assert_allclose(pixels.prepare(picture), theirs.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-4)


def test_without_a_normalisation_the_usual_one_goes_with_the_order_that_is_said(tmp_path: Path) -> None:
    pixels = described(tmp_path, "PreProcess: {transform_ops: [DecodeImage: {img_mode: RGB}]}").pixels
    assert pixels == PixelInput(detection.INPUT.mean, detection.INPUT.std, bgr=False)
    assert described(tmp_path / "silent", None) == Export()


def test_characters_are_as_they_are_written_whatever_yaml_takes_them_for(tmp_path: Path) -> None:
    export = described(tmp_path, RECOGNITION, "CTCLabelDecode")
    assert export.characters == ("0", "1", "y", "null", "~", "é", "\u3000")
    assert export.height == 48


@pytest.mark.parametrize("classes", [8, 9, "C"])
def test_a_recogniser_reads_its_own_dictionary_with_or_without_a_space(classes: Any, tmp_path: Path) -> None:
    path = model(tmp_path, RECOGNITION, ("N", "T", classes))
    graph, characters = recognition_graph(path=path)
    assert characters == ["", "0", "1", "y", "null", "~", "é", "\u3000", " "]
    assert graph.model.path == path


def test_a_dictionary_in_the_graph_counts_where_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = model(tmp_path, None, ("N", "T", 4))
    proto = onnx.load(path)
    proto.metadata_props.add(key="character", value="a\nb")
    onnx.save(proto, path)
    assert recognition_graph(path=path)[1] == ["", "a", "b", " "]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "nothing says which characters"),
        (DETECTION, r"of another kind, DBPostProcess .*engine\.text_detection"),
        (RECOGNITION.replace("CTCLabelDecode", "NRTRLabelDecode"), "NRTRLabelDecode .*has no use for it"),
        (RECOGNITION.replace("48", "32"), "reads lines 32 pixels high; Platoon gives it 48"),
        (RECOGNITION.partition("  character_dict")[0], "nothing says which characters"),
        ("a: [", r"inference\.yml is not YAML"),
        ("- 1", r"inference\.yml is not as PaddleOCR 3 writes it"),
        ("PreProcess: {transform_ops: 7}", "is not as PaddleOCR 3 writes it"),
        (RECOGNITION.replace("- 'é'", "- [é]"), "is not as PaddleOCR 3 writes it"),
        (RECOGNITION.replace("BGR", "GRAY"), "img_mode is GRAY"),
    ],
)
def test_what_no_line_can_be_read_with_is_refused_with_the_reason(text: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        recognition_graph(path=model(tmp_path, text, ("N", "T", 9)))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("shape", [("N", "T", 20), ("N", 1, "H", "W"), ("N", 9)])
def test_a_graph_with_other_classes_than_its_dictionary_is_refused(shape: tuple[Any, ...], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"mine is none that reads the 7 characters of its dictionary: .*8 or 9"):
        recognition_graph(path=model(tmp_path, RECOGNITION, shape))


def test_a_recogniser_in_the_place_of_a_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"engine\.text_recognition"):
        detection_graph(model(tmp_path, RECOGNITION))
    with pytest.raises(ModelError, match="mine is none that finds text: its outputs are"):
        detection_graph(model(tmp_path, DETECTION, ("N", "T", 9)))


def test_plates_are_read_with_a_users_model_only_if_it_knows_all_their_characters(tmp_path: Path) -> None:
    known = "\n".join(f"  - '{character}'" for character in PLATE)
    settings = EngineSettings(text_recognition=model(tmp_path, RECOGNITION, ("N", "T", 9)))
    assert served("text-recognition", settings)[0].model.name == "mine"
    assert served("plate-recognition", settings)[0].model.name != "mine"
    whole = RECOGNITION.partition("  - '0'")[0] + known
    settings = EngineSettings(text_recognition=model(tmp_path / "whole", whole, ("N", "T", 38)))
    graph, parameters = served("plate-recognition", settings)
    assert graph.model.name == "mine"
    assert sorted(parameters["alphabet"].split("\n")) == sorted(PLATE)
