import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from platoon.engine.lazy import Lazy
from platoon.engine.tuning import Tuning
from platoon.errors import ModelError, Unavailable

PATIENCE_S = 60.0


class Part:
    def __init__(self, choice: int = 0) -> None:
        self.choice = choice
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Machine:
    """Makes parts that are better with 2 than with 1, which is found by measuring, for as long as the test says."""

    def __init__(self, folder: Path) -> None:
        self.tuning = Tuning(folder)
        self.made: list[Part] = []
        self.load = threading.Event()
        """Parts can be made."""
        self.load.set()
        self.measured = threading.Event()
        self.lazy = Lazy(self.make, self.tuning, name="model x", owner="the owner")

    def make(self, tuning: Tuning) -> Part:
        assert self.load.wait(PATIENCE_S)
        self.made.append(Part(tuning.choose("which?", [1, 2], self._measure)))
        return self.made[-1]

    def _measure(self) -> int:
        assert self.measured.wait(PATIENCE_S)
        return 2


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def soon() -> float:
    return time.monotonic() + PATIENCE_S


def in_background(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_it_is_made_once_whichever_thread_comes_first(machine: Machine) -> None:
    machine.measured.set()
    start, got = threading.Barrier(8), list[Part]()

    def take() -> None:
        start.wait(PATIENCE_S)
        with machine.lazy.lent() as part:
            got.append(part)

    for thread in [in_background(take) for _ in range(8)]:
        thread.join(PATIENCE_S)
    assert got == machine.made * 8
    machine.lazy.close()
    assert machine.made[0].closed.is_set()


def test_after_closing_nothing_is_made_any_more(machine: Machine) -> None:
    machine.lazy.close()
    with pytest.raises(Unavailable, match="the owner is closed"), machine.lazy.lent():
        pass
    assert not machine.made


def test_who_has_a_deadline_is_served_before_anything_is_measured_and_others_as_measured(machine: Machine) -> None:
    with machine.lazy.lent(soon()) as part:
        assert part.choice == 1
    in_background(machine.measured.set)
    with machine.lazy.lent() as part:
        assert part.choice == 2


def test_what_was_measured_before_is_loaded_once(machine: Machine, tmp_path: Path) -> None:
    machine.measured.set()
    with machine.lazy.lent():
        pass
    again = Machine(tmp_path)
    again.lazy.warm_up(settled=True)
    assert [part.choice for part in again.made] == [2]


def test_a_caller_is_answered_that_it_warms_up_while_some_of_his_time_is_left(machine: Machine) -> None:
    machine.load.clear()
    deadline = time.monotonic() + 0.2
    with pytest.raises(Unavailable, match="model x is warming up"), machine.lazy.lent(deadline):
        pass
    machine.load.set()
    with machine.lazy.lent(soon()) as part:
        assert part is machine.made[0]


def test_what_somebody_still_uses_is_closed_once_he_has_done(machine: Machine) -> None:
    with machine.lazy.lent(soon()) as guessed:
        machine.measured.set()
        with machine.lazy.lent() as measured:
            assert measured is not guessed
        assert not guessed.closed.is_set()
    assert guessed.closed.wait(PATIENCE_S)
    assert not measured.closed.is_set()


def test_an_error_reaches_all_who_wait_and_the_next_call_tries_again(tmp_path: Path) -> None:
    attempts = list[int]()

    def make(_: Tuning) -> Part:
        attempts.append(1)
        if len(attempts) == 1:
            raise ModelError("damaged")
        return Part()

    lazy = Lazy(make, Tuning(tmp_path), name="model x", owner="the owner")
    with pytest.raises(ModelError, match="damaged"), lazy.lent():
        pass
    with lazy.lent():
        pass


def test_a_first_choice_that_does_not_work_leaves_it_to_measuring(tmp_path: Path) -> None:
    def make(tuning: Tuning) -> Part:
        choice = tuning.choose("which?", [1, 2], lambda: 2)
        if choice == 1:
            raise ModelError("not with this one")
        return Part(choice)

    lazy = Lazy(make, Tuning(tmp_path), name="model x", owner="the owner")
    with lazy.lent(soon()) as part:
        assert part.choice == 2
