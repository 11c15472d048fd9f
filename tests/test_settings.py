import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platoon.errors import InvalidSettings
from platoon.settings import Settings


def test_flags_beat_the_environment_and_the_environment_beats_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "platoon.toml"
    file.write_text("[api]\nport = 1111\nhost = '0.0.0.0'\n[analysis]\nevery = 3\n")
    monkeypatch.setenv("PLATOON_API__PORT", "2222")
    monkeypatch.setenv("PLATOON_ANALYSIS__FPS", "5")
    settings = Settings.load(file, analysis__fps=7.0, analysis__every=None)
    assert settings.api.host == "0.0.0.0"
    assert settings.api.port == 2222
    assert settings.analysis.every == 3
    assert settings.analysis.fps == 7.0


def test_everything_that_does_not_fit_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "platoon.toml"
    file.write_text("[api]\nport = 99999\n[analysis]\nfsp = 5\n")
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(file)
    assert "api.port" in str(caught.value)
    assert "analysis.fsp" in str(caught.value)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"nowhere\.toml"):
        Settings.load(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("[api\nport = 1")
    with pytest.raises(InvalidSettings, match="not TOML"):
        Settings.load(broken)


def test_countries_are_weighed_for_the_site_by_variable_and_for_a_camera_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "platoon.toml"
    file.write_text("[plates.camera_countries.gate-in]\nSE = 50\n'*' = 1\n")
    monkeypatch.setenv("PLATOON_PLATES__COUNTRIES", '{"US-NY": 90, "US": 10}')
    plates = Settings.load(file).plates
    assert plates.countries == {"US-NY": 90, "US": 10}
    assert plates.camera_countries == {"gate-in": {"SE": 50, "*": 1}}
    monkeypatch.setenv("PLATOON_PLATES__COUNTRIES", '{"FR": -1}')
    with pytest.raises(InvalidSettings, match=r"plates\.countries\.FR"):
        Settings.load()


def test_variables_of_paddleocrs_gateway_are_understood_also_by_their_older_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPS_TRITON_URL", "pipeline:8001")
    monkeypatch.setenv("HPS_VLM_URL", "http://vlm:8080")
    monkeypatch.setenv("HPS_MAX_CONCURRENT_REQUESTS", "3")
    monkeypatch.setenv("HPS_MAX_CONCURRENT_NON_INFERENCE_REQUESTS", "5")
    monkeypatch.setenv("HPS_INFERENCE_TIMEOUT", "60")
    monkeypatch.setenv("HPS_HEALTH_CHECK_TIMEOUT", "2")
    monkeypatch.setenv("HPS_LOG_LEVEL", "debug")
    monkeypatch.setenv("GPU_DEVICE_ID", "1")
    settings = Settings.load()
    gateway = settings.gateway
    assert (gateway.triton_url, gateway.vlm_url) == ("pipeline:8001", "http://vlm:8080")
    assert (gateway.max_inference_requests, gateway.max_other_requests) == (3, 5)
    assert (gateway.timeout_s, gateway.health_timeout_s) == (60, 2)
    assert (settings.log_level, settings.engine.device) == ("DEBUG", 1)
    monkeypatch.setenv("HPS_MAX_CONCURRENT_INFERENCE_REQUESTS", "4")
    monkeypatch.setenv("HPS_DEVICE_ID", "2")
    monkeypatch.setenv("PLATOON_GATEWAY__MAX_OTHER_REQUESTS", "6")
    file = tmp_path / "platoon.toml"
    file.write_text("[gateway]\nvlm_model = 'reader'\nvlm_url = 'http://elsewhere:1'\n")
    settings = Settings.load(file)
    assert (settings.gateway.max_inference_requests, settings.gateway.max_other_requests) == (4, 6)
    assert (settings.gateway.vlm_url, settings.gateway.vlm_model) == ("http://vlm:8080", "reader")
    assert settings.engine.device == 2


def test_a_variable_that_sets_nothing_here_is_said_to(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("UVICORN_WORKERS", "1")
    monkeypatch.setenv("HPS_UVICORN_WORKERS", "4")
    Settings.load()
    (line,) = caplog.messages
    assert line.startswith("HPS_UVICORN_WORKERS has no effect")


def test_settings_cannot_be_changed_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().api.port = 1


def test_the_page_of_settings_is_up_to_date() -> None:
    root = Path(__file__).parent.parent
    printed = subprocess.run(
        [sys.executable, root / "scripts" / "settings-page"], capture_output=True, text=True, check=True
    ).stdout
    assert printed == (root / "docs" / "settings.md").read_text(encoding="utf-8"), "run scripts/settings-page"


def test_every_setting_has_a_sentence() -> None:
    sections: list[Any] = [field.annotation for field in Settings.model_fields.values()]
    missing = [
        name
        for section in sections
        for name, field in getattr(section, "model_fields", {}).items()
        if not field.description
    ]
    assert missing == []


@pytest.mark.parametrize("url", ["redis://:S3c/ret@redis:6379/0", "redis://u:S3c#ret@redis", "amqp://u:S3cret@redis"])
def test_a_broker_that_cannot_be_used_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PLATOON_BROKER", url)
    with pytest.raises(InvalidSettings, match="broker") as caught:
        Settings.load()
    assert "S3c" not in str(caught.value)


def test_paddle_is_no_runtime_without_a_model_for_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="name one in text_detection or text_recognition"):
        Settings.load(engine__runtime="paddle")
    assert Settings.load(engine__runtime="paddle", engine__text_detection=tmp_path).engine.runtime == "paddle"
