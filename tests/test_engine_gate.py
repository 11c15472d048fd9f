"""Places at which models are executed: how many, and who has the next. Counted in executions, not in time."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from platoon.engine import batched
from platoon.engine.batched import BatchedModel
from platoon.engine.batcher import Batcher, Priority
from platoon.engine.gate import Gate, Gates, Urgency
from platoon.engine.tuning import Tuning
from platoon.engine.turns import FAIR_SHARE, FairTurns
from platoon.metrics import Metrics
from platoon.settings import EngineSettings
from tests.running import wait_until

PATIENCE_S = 60


class Held:
    """A gate all of whose places are taken, until `open`."""

    def __init__(self, slots: int = 1) -> None:
        self.gate = Gate(slots)
        self.passed: list[str] = []
        self._opened = threading.Event()
        self._threads: list[threading.Thread] = []
        entered = threading.Barrier(slots + 1)

        def hold() -> None:
            with self.gate.slot(lambda: Urgency(0, 0.0)):
                entered.wait(PATIENCE_S)
                self._opened.wait(PATIENCE_S)

        for _ in range(slots):
            self._start(hold)
        entered.wait(PATIENCE_S)

    def wait_as(self, name: str, urgency: Callable[[], Urgency]) -> None:
        """Another that waits for a place, and has it for a moment only."""

        def go() -> None:
            with self.gate.slot(urgency):
                self.passed.append(name)

        before = self.gate.waiting
        self._start(go)
        wait_until(lambda: self.gate.waiting == before + 1, f"{name} waits")

    def open(self) -> list[str]:
        """Who passed, in order."""
        self._opened.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        return self.passed

    def _start(self, run: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()


def test_no_more_are_in_than_there_are_slots_and_all_get_in() -> None:
    gate, lock = Gate(3), threading.Lock()
    inside, most, done = 0, 0, 0

    def run(number: int) -> None:
        nonlocal inside, most, done
        for _ in range(50):
            with gate.slot(lambda: Urgency(number % 3, number)):
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1
                    done += 1

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert (most <= 3, done, gate.waiting) == (True, 12 * 50, 0)


def test_the_most_urgent_has_the_next_slot_and_of_equals_the_oldest() -> None:
    held = Held()
    for name, rank, since in (("a", 2, 1.0), ("b", 1, 3.0), ("c", 1, 2.0), ("d", 0, 4.0)):
        held.wait_as(name, lambda rank=rank, since=since: Urgency(rank, since))  # type: ignore[misc]
    assert held.open() == ["d", "c", "b", "a"]


def test_what_becomes_urgent_while_it_waits_goes_first() -> None:
    held, urgency = Held(), {"a": Urgency(1, 1.0), "b": Urgency(1, 2.0)}
    for name in urgency:
        held.wait_as(name, lambda name=name: urgency[name])  # type: ignore[misc]
    urgency["b"] = Urgency(0, 3.0)
    assert held.open() == ["b", "a"]


def test_a_slot_is_free_again_after_an_error() -> None:
    gate = Gate(1)
    with pytest.raises(ValueError, match="poison"), gate.slot(lambda: Urgency(0, 0.0)):
        raise ValueError("poison")
    with gate.slot(lambda: Urgency(0, 0.0)):
        assert gate.waiting == 0


def test_who_is_less_urgent_has_one_turn_in_so_many() -> None:
    turns = FairTurns()
    had = [turns.next([0, 1, 4]) for _ in range(4 * FAIR_SHARE)]
    assert had.count(0) == 4 * (FAIR_SHARE - 1)
    assert had.count(1) == had.count(4) == 2


def test_a_single_urgent_one_never_waits_for_the_others_turn() -> None:
    for before in range(3 * FAIR_SHARE):
        turns = FairTurns()
        for _ in range(before):
            turns.next([1, 4])
        assert turns.next([0, 1, 4]) == 0, f"after {before} turns of others"


def test_nobody_starves_under_two_that_take_turns() -> None:
    turns = FairTurns()
    had = [turns.next([step % 2, 1, 4]) for step in range(4 * FAIR_SHARE)]
    assert had.count(4) >= 2


def test_turns_without_company_are_not_held_against_anybody() -> None:
    turns = FairTurns()
    assert [turns.next([0]) for _ in range(5 * FAIR_SHARE)] == [0] * 5 * FAIR_SHARE
    assert turns.next([0, 1]) == 0


class Model:
    """Notes what it executes; the item "hold" lasts until the test lets go."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.busy, self.go_on = threading.Event(), threading.Event()

    def __call__(self, items: Sequence[str]) -> Sequence[str]:
        self.log.extend(items)
        if "hold" in items:
            self.busy.set()
            assert self.go_on.wait(PATIENCE_S)
        return items


class TwoModels:
    """A model that is being executed at the only place, and another with the same gates."""

    def __init__(self, **options: Any) -> None:
        self.log: list[str] = []
        self.gates = Gates.of(1)
        self.first, self.second = Model(self.log), Model(self.log)
        self.back = Model(self.log)
        self.one, self.other = (
            Batcher[str, str](
                name,
                [model, model],
                background=[self.back],
                bucket=lambda _: 0,
                max_batch=1,
                queue_limit=1000,
                metrics=Metrics(),
                gates=self.gates,
                **options,
            )
            for name, model in (("one", self.first), ("other", self.second))
        )
        self.held = self.one.submit("hold")
        assert self.first.busy.wait(PATIENCE_S)

    def executed(self, replies: Sequence[Future[str]]) -> list[str]:
        """In which order, once the place is free."""
        self.first.go_on.set()
        assert not wait([self.held, *replies], PATIENCE_S).not_done
        self.one.close()
        self.other.close()
        return self.log[1:]


def test_what_somebody_waits_for_waits_for_at_most_one_execution_however_much_of_all_models_is_there() -> None:
    models = TwoModels()
    frames = [batcher.submit("video") for batcher in (models.one, models.other) for _ in range(30)]
    wait_until(lambda: models.gates.foreground.waiting == 3, "all threads but the one that executes wait for the place")
    asked = models.other.submit("asked", priority=Priority.INTERACTIVE)
    assert models.executed([*frames, asked])[0] == "asked"


def test_models_take_turns_by_the_age_of_what_waits() -> None:
    models = TwoModels()
    replies = []
    for number in range(4):
        replies += [models.one.submit(f"one {number}"), models.other.submit(f"other {number}")]
        last = replies[-1]
        assert not last.done()
    wait_until(lambda: models.gates.foreground.waiting == 3, "they wait")
    executed = models.executed(replies)
    assert executed == [f"{name} {number}" for number in range(4) for name in ("one", "other")]


def test_calls_get_on_while_the_frames_of_another_model_never_let_the_processor_rest() -> None:
    models = TwoModels()
    frames = [models.one.submit("video") for _ in range(5 * FAIR_SHARE)]
    call = models.other.submit("call", priority=Priority.CALL)
    wait_until(lambda: models.gates.foreground.waiting >= 2, "both models wait")
    assert models.executed([*frames, call]).index("call") < 2 * FAIR_SHARE


def test_bulk_holds_no_slot_that_others_wait_for_and_needs_none_of_theirs() -> None:
    models = TwoModels()
    bulk = [models.other.submit(f"bulk {number}", priority=Priority.BULK) for number in range(3)]
    assert not wait(bulk, PATIENCE_S).not_done, "while all places are taken"
    models.other.submit("hold", priority=Priority.BULK)
    assert models.back.busy.wait(PATIENCE_S)
    frame = models.other.submit("video")
    models.first.go_on.set()
    assert frame.result(PATIENCE_S) == "video"
    models.back.go_on.set()
    models.executed([])


def test_bulk_of_all_models_together_is_executed_in_as_many_slots() -> None:
    models = TwoModels()
    models.one.submit("hold", priority=Priority.BULK)
    assert models.back.busy.wait(PATIENCE_S)
    bulk = models.other.submit("bulk", priority=Priority.BULK)
    wait_until(lambda: models.gates.background.waiting == 1, "it waits for the place")
    assert not bulk.done()
    models.back.go_on.set()
    models.executed([bulk])


def test_closing_waits_for_a_slot_and_finishes_what_waits() -> None:
    models = TwoModels()
    replies = [models.other.submit(f"frame {number}") for number in range(3)]
    wait_until(lambda: models.gates.foreground.waiting >= 1, "it waits for the place")
    closing = threading.Thread(target=models.other.close, daemon=True)
    closing.start()
    models.executed(replies)
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert models.gates.foreground.waiting == 0


def test_closing_without_draining_leaves_the_slot_to_others() -> None:
    models = TwoModels()
    dropped = models.other.submit("dropped")
    wait_until(lambda: models.gates.foreground.waiting >= 1, "it waits for the place")
    closing = threading.Thread(target=models.other.close, kwargs={"drain": False}, daemon=True)
    closing.start()
    wait_until(dropped.cancelled, "it is dropped")
    assert models.executed([models.one.submit("frame")]) == ["frame"]
    closing.join(PATIENCE_S)
    assert not closing.is_alive()


class FakeRuntime:
    """Gives each item back."""

    name = "fake"

    def __init__(self, *, on_cpu: bool) -> None:
        self.on_cpu = on_cpu

    def __call__(self, batch: Any) -> tuple[Any, ...]:
        return (batch,)

    def prepare(self, shape: tuple[int, ...]) -> None: ...

    def foreground(self) -> list[Any]:
        return [self]

    def background(self) -> tuple[()]:
        return ()

    def close(self) -> None: ...


@pytest.mark.parametrize("on_cpu", [True, False])
def test_only_what_is_executed_on_the_processor_takes_a_slot(
    on_cpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "open_runtime", lambda *_, **__: FakeRuntime(on_cpu=on_cpu))
    monkeypatch.setattr(batched, "best_batch", lambda *_, **__: 1)
    held = Held()
    graph: Any = type("Graph", (), {"name": "fake"})()
    model: BatchedModel[Any, Any] = BatchedModel(
        graph,
        EngineSettings(),
        Tuning(tmp_path),
        Metrics(),
        Gates(held.gate, Gate(1)),
        item=(8, 8, 3),
        pixels=lambda item: item,
        results=lambda _, outputs: list(outputs[0]),
    )
    (reply,) = model.submit([np.zeros((8, 8, 3), np.uint8)], priority=Priority.VIDEO)
    if on_cpu:
        wait_until(lambda: held.gate.waiting == 1, "it waits for the place")
        assert not reply.done()
    else:
        assert reply.result(PATIENCE_S).shape == (8, 8, 3)
    held.open()
    assert reply.result(PATIENCE_S).shape == (8, 8, 3)
    model.close()
