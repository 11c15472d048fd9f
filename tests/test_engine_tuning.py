import logging
import multiprocessing
import os
import stat
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from platoon.engine.tuning import Offhand, Tuning


def never() -> str:
    raise AssertionError("measured again")


def test_a_choice_is_measured_once_and_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "platoon"
    assert Tuning(folder).choose("runtime", ["a", "b"], lambda: "b") == "b"
    assert Tuning(folder).choose("runtime", ["a", "b"], never) == "b"


def test_what_was_measured_is_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Tuning(tmp_path / "cache").choose("runtime", ["a", "b"], lambda: "b")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "cache").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


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
    tuning.choose("batch", [1, 2], lambda: 1)
    file = tmp_path / "tuning.json"
    file.write_text(file.read_text().replace(": 1", ": true"))
    assert tuning.choose("batch", [1, 2], lambda: 2) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff\xfe\x00", b'{"runtime": null}', b"9" * 9999])
def test_a_damaged_file_costs_a_measurement_and_no_more(tmp_path: Path, content: bytes) -> None:
    Tuning(tmp_path).choose("runtime", ["a", "b"], lambda: "a")
    file = tmp_path / "tuning.json"
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
        tuning.choose(f"question {number}", [1, 2], lambda: 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tuning.json", "tuning.lock"]


def test_one_option_needs_no_measuring(tmp_path: Path) -> None:
    assert Tuning(tmp_path).choose("batch", ["a"], never) == "a"
    assert not list(tmp_path.iterdir())


def test_offhand_the_first_option_is_guessed_and_not_kept(tmp_path: Path) -> None:
    offhand = Offhand(tmp_path)
    assert (offhand.choose("runtime", ["a", "b"], never), offhand.guessed) == ("a", True)
    Tuning(tmp_path).choose("runtime", ["a", "b"], lambda: "b")
    offhand = Offhand(tmp_path)
    assert (offhand.choose("runtime", ["a", "b"], never), offhand.guessed) == ("b", False)


def measure_with_others(folder: Path, start: Barrier, own: int) -> None:
    """In a process of its own: a question that all ask, and one of its own, each measured for a while."""
    tuning = Tuning(folder)
    start.wait(60)

    def measure() -> int:
        with (folder / "measuring").open("x"):  # raises if somebody else measures now
            time.sleep(0.02)
        (folder / "measuring").unlink()
        with (folder / "measured").open("a") as file:
            file.write("1")
        return own

    tuning.choose("of all", range(1, 6), measure)
    tuning.choose(f"of {own}", range(1, 6), measure)


def test_processes_measure_one_at_a_time_and_keep_each_others_answers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    processes = [context.Process(target=measure_with_others, args=(tmp_path, start, own)) for own in range(1, 5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len((tmp_path / "measured").read_text()) == 5  # one for all, one for each
    known = Tuning(tmp_path).remembered()
    assert {question: known[question] for question in known if question != "of all"} == {
        f"of {own}": own for own in range(1, 5)
    }


def test_one_who_hangs_while_measuring_stops_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    measuring, go_on = threading.Event(), threading.Event()

    def hang() -> str:
        measuring.set()
        assert go_on.wait(60)
        return "b"

    hanging = threading.Thread(target=Tuning(tmp_path).choose, args=("runtime", ["a", "b"], hang))
    hanging.start()
    assert measuring.wait(60)
    with caplog.at_level(logging.WARNING):
        assert Tuning(tmp_path, wait_s=0.1).choose("runtime", ["a", "b"], never) == "a"
    assert "others still measure" in caplog.text
    go_on.set()
    hanging.join(60)
    assert Tuning(tmp_path).choose("runtime", ["a", "b"], never) == "b"
