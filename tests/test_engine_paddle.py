"""Paddle's own engine, as far as it goes without it; the rest runs in an environment that has it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platoon.engine.model import Model
from platoon.engine.runtime import open_runtime
from platoon.engine.signature import signature
from platoon.engine.tuning import Tuning
from platoon.errors import InvalidSettings, MissingExtra, ModelError
from platoon.ocr.detection import detection_graph
from platoon.settings import EngineSettings
from tests.absent import absent

HERE = Path(__file__).parent


def folder_of(path: Path, *files: str) -> Path:
    path.mkdir(exist_ok=True)
    for name in files:
        (path / name).write_bytes(name.encode())
    return path


def test_it_passes_its_tests_where_it_is_installed() -> None:
    home = Path(os.environ.get("PLATOON_PADDLE_ENV", HERE.parent / ".venv-paddle"))
    if not (home / "ready").exists():
        absent(f"no PaddlePaddle in {home}; make paddle installs it for tests")
    tests = [str(home / "bin" / "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "with_paddle")]
    done = subprocess.run(tests, cwd=HERE.parent, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_folder_is_a_model_by_its_program_and_weights(tmp_path: Path) -> None:
    new = Model.from_path(folder_of(tmp_path / "det", "inference.json", "inference.pdmodel", "inference.pdiparams"))
    assert (new.name, new.path.name) == ("det", "inference.json")  # Paddle 3's form, if there are both
    old = Model.from_path(folder_of(tmp_path / "old", "inference.pdmodel", "inference.pdiparams"))
    assert old.path.name == "inference.pdmodel"
    assert old.parameters == tmp_path / "old" / "inference.pdiparams"
    before = Model.from_path(old.path.parent).digest
    old.parameters.write_bytes(b"other weights")
    assert Model.from_path(old.path.parent).digest != before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), "holds no Paddle model"),
        (("inference.pdiparams", "inference.yml"), "holds no Paddle model"),
        (("inference.json",), r"inference\.json has no weights: inference\.pdiparams is missing"),
        (("inference.pdmodel", "other.pdiparams"), r"inference\.pdmodel has no weights"),
    ],
)
def test_what_a_folder_lacks_is_named(files: tuple[str, ...], said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        Model.from_path(folder_of(tmp_path, *files))
    assert str(tmp_path) in str(caught.value)


def test_who_names_a_file_of_a_folder_learns_to_name_the_folder(tmp_path: Path) -> None:
    folder_of(tmp_path, "inference.json", "inference.pdiparams")
    with pytest.raises(ModelError, match="name the folder"):
        Model.from_path(tmp_path / "inference.pdiparams")


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddle", None)
    graph = detection_graph(folder_of(tmp_path, "inference.json", "inference.pdiparams"))
    settings = EngineSettings(runtime="paddle", text_detection=tmp_path)
    with pytest.raises(MissingExtra, match=r"pip install 'platoon\[paddle\]'"):
        open_runtime(graph, settings, Tuning(tmp_path), example=(1, 32, 32, 3))


@pytest.mark.parametrize("runtime", ["auto", "openvino", "onnxruntime", "cuda", "triton"])
def test_no_other_runtime_takes_a_model_in_its_form(runtime: Any, tmp_path: Path) -> None:
    graph = detection_graph(folder_of(tmp_path, "inference.json", "inference.pdiparams"))
    with pytest.raises(InvalidSettings, match=r"engine\.runtime = 'paddle' in place of"):
        open_runtime(graph, EngineSettings(runtime=runtime), Tuning(tmp_path), example=(1, 32, 32, 3))
    with pytest.raises(ModelError, match="no other program can execute it"):
        signature(graph)


def test_importing_platoon_and_its_runtimes_does_not_import_paddle() -> None:
    program = "import sys, platoon.cli, platoon.doctor, platoon.ocr.engine; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
