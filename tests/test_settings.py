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
