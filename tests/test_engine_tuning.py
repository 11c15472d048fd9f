import logging
from pathlib import Path

import pytest

from platoon.engine.tuning import Tuning


def never() -> str:
    raise AssertionError("measured again")


def test_a_choice_is_measured_once_and_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "platoon"
    assert Tuning(folder).choose("runtime", ["a", "b"], lambda: "b") == "b"
    assert Tuning(folder).choose("runtime", ["a", "b"], never) == "b"


def test_questions_do_not_share_answers(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path)
    tuning.choose("batch of x", [1, 2], lambda: 2)
    assert tuning.choose("batch of y", [1, 2], lambda: 1) == 1
    assert tuning.choose("batch of x", [1, 2], lambda: 1) == 2


def test_an_answer_that_is_no_option_any_more_is_measured_again(tmp_path: Path) -> None:
    Tuning(tmp_path).choose("batch", [1, 2, 4], lambda: 4)
    assert Tuning(tmp_path).choose("batch", [1, 2], lambda: 2) == 2


def test_true_is_not_taken_for_one(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path)
    tuning.choose("batch", [1], lambda: 1)
    file = next(tmp_path.iterdir())
    file.write_text(file.read_text().replace(": 1", ": true"))
    assert tuning.choose("batch", [1, 2], lambda: 2) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe\x00", b'{"runtime": null}', b"9" * 9999])
def test_a_damaged_file_costs_a_measurement_and_no_more(tmp_path: Path, content: bytes) -> None:
    Tuning(tmp_path).choose("runtime", ["a", "b"], lambda: "a")
    file = next(tmp_path.iterdir())
    file.write_bytes(content)
    assert Tuning(tmp_path).choose("runtime", ["a", "b"], lambda: "b") == "b"
    assert Tuning(tmp_path).choose("runtime", ["a", "b"], never) == "b"


def test_a_folder_that_cannot_be_written_is_said_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        assert Tuning(blocked / "cache").choose("runtime", ["a", "b"], lambda: "a") == "a"
    assert str(blocked) in caplog.text


def test_nothing_but_the_choices_is_left_in_the_folder(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path)
    for number in range(5):
        tuning.choose(f"question {number}", [1], lambda: 1)
    assert [file.name for file in tmp_path.iterdir()] == ["tuning.json"]
