from typing import Any, Self

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from platoon.engine import cost as module
from platoon.engine.cost import Cost, CostFit, TimedRuntime, fit
from platoon.metrics import Metrics

seconds = st.floats(0, 10)
sizes = st.floats(0.1, 256)


@given(seconds, seconds, st.lists(st.tuples(sizes, st.floats(1, 50)), min_size=2, max_size=8, unique_by=lambda p: p[0]))
def test_points_on_a_line_give_that_line(fixed: float, each: float, sized: list[tuple[float, float]]) -> None:
    found = fit([(size, fixed + each * size, weight) for size, weight in sized])
    for size, _ in sized:
        assert found.fixed_s + found.item_s * size == pytest.approx(fixed + each * size, abs=1e-6)


@given(st.lists(st.tuples(sizes, seconds, st.floats(1, 50)), min_size=2, max_size=8))
def test_no_part_is_ever_below_nothing(points: list[tuple[float, float, float]]) -> None:
    found = fit(points)
    assert found.fixed_s >= 0
    assert found.item_s >= 0


def test_a_line_that_would_start_below_nothing_starts_there() -> None:
    assert fit([(1, 0.5, 1), (2, 2.0, 1)]) == pytest.approx((0.0, 0.9))


def test_larger_batches_that_take_less_cost_nothing_per_item() -> None:
    assert fit([(1, 2.0, 1), (8, 1.0, 1)]) == Cost(1.5, 0.0)


def test_nothing_is_said_before_two_sizes_were_seen() -> None:
    costs = CostFit()
    for _ in range(3):
        costs.observe(1, 0.1)
    assert costs.cost() is None
    costs.observe(4, 9.0)
    assert costs.cost() is None, "the first execution of a size does not count"
    costs.observe(4, 0.25)
    assert costs.cost() == pytest.approx((0.05, 0.05))


def test_the_fit_follows_a_machine_that_becomes_slower() -> None:
    costs = CostFit()
    for slowness in (1, 3):
        for _ in range(500):
            for size in (1, 2, 8):
                costs.observe(size, slowness * (0.01 + 0.002 * size))
    assert costs.cost() == pytest.approx((0.03, 0.006), rel=0.01)


class Runtime:
    """Takes 10 ms and 1 ms for each thousand values."""

    name = "fake"
    on_cpu = True

    def __init__(self) -> None:
        self.now = 0.0
        self.closed = False

    def perf_counter(self) -> float:
        return self.now

    def __call__(self, batch: Any) -> tuple[NDArray[np.uint8], ...]:
        self.now += 0.010 + batch.size * 1e-6
        return (batch,)

    def prepare(self, shape: tuple[int, ...]) -> None:
        self.now += 5.0

    def foreground(self) -> tuple[Self]:
        return (self,)

    def background(self) -> tuple[()]:
        return ()

    def close(self) -> None:
        self.closed = True


def test_what_executions_cost_is_published_and_wide_items_count_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, metrics = Runtime(), Metrics()
    monkeypatch.setattr(module, "time", runtime)
    timed = TimedRuntime(runtime, "text-recognition", metrics, item=(10, 100))
    for shape in ((1, 10, 100), (1, 10, 300), (4, 10, 100), (2, 10, 200)):
        timed.prepare(shape)
        for _ in range(3):
            timed(np.zeros(shape, np.uint8))
    published = metrics.exposition().decode()
    values = {line.split()[0]: float(line.split()[1]) for line in published.splitlines() if line[0] != "#"}
    assert values['platoon_model_fixed_seconds{model="text-recognition"}'] == pytest.approx(0.010)
    assert values['platoon_model_item_seconds{model="text-recognition"}'] == pytest.approx(0.001)
    assert 'platoon_model_runtime{model="text-recognition",runtime="fake"} 1.0' in published
    timed.close()
    assert runtime.closed
