import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platoon.engine.batcher import CALLERS_FIRST, Batcher, Priority
from platoon.engine.turns import FAIR_SHARE
from platoon.errors import DeadlineExceeded, Overloaded, Unavailable
from platoon.metrics import Metrics

PATIENCE_S = 30


class FakeModel:
    """Answers each item with itself, reversed; notes its batches; the item "gate" keeps it busy until opened."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        self.busy, self.gate = threading.Event(), threading.Event()

    def __call__(self, items: Sequence[str]) -> list[str]:
        self.batches.append(list(items))
        self.threads.add(threading.current_thread().name)
        if "gate" in items:
            self.busy.set()
            assert self.gate.wait(PATIENCE_S)
        if any("poison" in item for item in items):
            raise ValueError(f"cannot read {[item for item in items if 'poison' in item]}")
        return [item[::-1] for item in items]


class Bench:
    """A batcher over a `FakeModel` that is busy already, so that what is submitted waits."""

    def __init__(self, **options: Any) -> None:
        self.now = 100.0
        self.metrics = Metrics()
        self.model = FakeModel()
        defaults = {"bucket": len, "max_batch": 4, "queue_limit": 1000}
        self.batcher: Batcher[str, str] = Batcher(
            "fake", [self.model], metrics=self.metrics, clock=lambda: self.now, **{**defaults, **options}
        )
        self.batcher.submit("gate")
        assert self.model.busy.wait(PATIENCE_S)

    def open(self, futures: Sequence[Future[str]]) -> list[list[str]]:
        """Let the model go on; the batches after the gate, once all `futures` are done."""
        self.model.gate.set()
        assert not wait(futures, PATIENCE_S).not_done
        return self.model.batches[1:]

    def sample(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, {"model": "fake"})


@pytest.fixture
def make() -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.model.gate.set()
        bench.batcher.close()


def test_every_item_gets_its_own_answer_from_one_thread(make: Callable[..., Bench]) -> None:
    bench = make()
    futures = [bench.batcher.submit(f"a{number}") for number in range(10)]
    bench.open(futures)
    assert [future.result() for future in futures] == [f"{number}a" for number in range(10)]
    assert bench.model.threads == {"model fake"}


def test_what_waits_goes_together_up_to_the_largest_batch(make: Callable[..., Bench]) -> None:
    bench = make()
    batches = bench.open([bench.batcher.submit(item) for item in ("a", "b", "c", "d", "e")])
    assert batches == [["a", "b", "c", "d"], ["e"]]


def test_a_reply_knows_the_execution_that_brought_it(make: Callable[..., Bench]) -> None:
    bench = make()
    replies = [bench.batcher.submit(item) for item in ("abc", "def", "poison", "ghi")]
    assert replies[0].execution is None
    bench.open(replies)
    items = [reply.execution.items if reply.execution else None for reply in replies]
    assert items == [3, 3, None, 3]


def test_an_idle_model_starts_with_the_first_item_at_once() -> None:
    model = FakeModel()
    batcher: Batcher[str, str] = Batcher(
        "fake", [model], bucket=len, max_batch=4, queue_limit=9, metrics=Metrics(), clock=lambda: 0.0
    )
    assert batcher.submit("ab").result(PATIENCE_S) == "ba"
    batcher.close()


def test_only_items_of_one_bucket_share_a_batch(make: Callable[..., Bench]) -> None:
    bench = make()
    batches = bench.open([bench.batcher.submit(item) for item in ("aa", "b", "cc", "d", "ee")])
    assert batches == [["aa", "cc", "ee"], ["b", "d"]]


def test_the_most_urgent_lead_and_others_of_their_bucket_ride_along(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=3)
    queue = [("b1", Priority.BULK), ("v1", Priority.VIDEO), ("v2", Priority.VIDEO), ("i1", Priority.INTERACTIVE)]
    batches = bench.open([bench.batcher.submit(item, priority=priority) for item, priority in queue])
    assert batches == [["i1", "v1", "v2"], ["b1"]]


def test_bulk_is_served_once_in_a_while_however_much_video_there_is(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=1)
    queue = [(f"v{number}", Priority.VIDEO) for number in range(3 * FAIR_SHARE)] + [("bulk", Priority.BULK)]
    batches = bench.open([bench.batcher.submit(item, priority=priority) for item, priority in queue])
    assert batches.index(["bulk"]) < FAIR_SHARE


def test_bulk_goes_to_the_background_and_nothing_else_does() -> None:
    model, background = FakeModel(), [FakeModel(), FakeModel()]
    batcher: Batcher[str, str] = Batcher(
        "fake", [model], background=background, bucket=len, max_batch=4, queue_limit=99, metrics=Metrics()
    )
    bulk = [batcher.submit("gate", priority=Priority.BULK)]
    bulk += [batcher.submit(f"b{number}", priority=Priority.BULK) for number in range(9)]
    others = [batcher.submit(item, priority=one) for item in ("x", "y") for one in Priority if one is not Priority.BULK]
    assert not wait([*others, *bulk[1:]], PATIENCE_S).not_done, "nothing waits for a background execution but bulk"
    assert not bulk[0].done()
    for one in background:
        one.gate.set()
    batcher.close()
    others_there = len(Priority) - 1
    assert sorted(item for batch in model.batches for item in batch) == ["x"] * others_there + ["y"] * others_there
    assert sorted(item for one in background for batch in one.batches for item in batch) == sorted(
        ["gate", *(f"b{number}" for number in range(9))]
    )
    assert bulk[0].result() == "etag"


def test_closing_finishes_what_waits_for_the_background() -> None:
    model, background = FakeModel(), FakeModel()
    batcher: Batcher[str, str] = Batcher(
        "fake", [model], background=[background], bucket=len, max_batch=1, queue_limit=99, metrics=Metrics()
    )
    first = batcher.submit("gate", priority=Priority.BULK)
    assert background.busy.wait(PATIENCE_S)
    waiting = [batcher.submit(item, priority=Priority.BULK) for item in ("a", "poison", "c")]
    background.gate.set()
    batcher.close()
    assert [reply.result() for reply in (first, waiting[0], waiting[2])] == ["etag", "a", "c"]
    with pytest.raises(ValueError, match="poison"):
        waiting[1].result()


def test_every_priority_gets_its_share(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=1)
    futures = [
        bench.batcher.submit(f"{priority.name}{number}", priority=priority)
        for priority in Priority
        for number in range(4 * FAIR_SHARE)
    ]
    first = [batch[0].rstrip("0123456789") for batch in bench.open(futures)[: 4 * FAIR_SHARE]]
    assert {priority.name for priority in Priority} == set(first)
    assert first.count("INTERACTIVE") >= 4 * FAIR_SHARE - 4


def test_a_poisoned_item_fails_alone(make: Callable[..., Bench]) -> None:
    bench = make(bucket=lambda _: 0)
    futures = [bench.batcher.submit(item) for item in ("a", "b", "poison", "d")]
    bench.open(futures)
    assert [future.result() for future in futures if future is not futures[2]] == ["a", "b", "d"]
    with pytest.raises(ValueError, match=r"cannot read \['poison'\]"):
        futures[2].result()


def test_several_poisoned_items_fail_each_with_its_own_error(make: Callable[..., Bench]) -> None:
    bench = make(bucket=lambda _: 0)
    futures = [bench.batcher.submit(item) for item in ("poison 1", "b", "c", "poison 2")]
    bench.open(futures)
    for future, name in ((futures[0], "poison 1"), (futures[3], "poison 2")):
        with pytest.raises(ValueError, match=rf"\['{name}'\]"):
            future.result()


def test_the_model_goes_on_after_a_failure(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.open([bench.batcher.submit("poison")])
    assert bench.batcher.submit("ab").result(PATIENCE_S) == "ba"


def test_a_model_that_answers_too_little_is_an_error_and_not_a_wrong_answer() -> None:
    batcher: Batcher[str, str] = Batcher(
        "short", [lambda _: []], bucket=len, max_batch=4, queue_limit=9, metrics=Metrics()
    )
    with pytest.raises(ValueError, match="zip"):
        batcher.submit("a").result(PATIENCE_S)
    batcher.close()


def test_a_cancelled_item_never_reaches_the_model(make: Callable[..., Bench]) -> None:
    bench = make()
    kept, gone = bench.batcher.submit("a"), bench.batcher.submit("b")
    assert gone.cancel()
    assert bench.open([kept]) == [["a"]]


def test_an_item_that_waited_past_its_deadline_fails_without_being_read(make: Callable[..., Bench]) -> None:
    bench = make()
    late, patient = bench.batcher.submit("a", deadline=105.0), bench.batcher.submit("b", deadline=115.0)
    bench.now = 110.0
    assert bench.open([late, patient]) == [["b"]]
    with pytest.raises(DeadlineExceeded, match=r"waited 10\.00 s for model fake"):
        late.result()
    assert patient.result() == "b"


def test_a_full_queue_turns_callers_away(make: Callable[..., Bench]) -> None:
    bench = make(queue_limit=2)
    waiting = [bench.batcher.submit("a"), bench.batcher.submit("b")]
    with pytest.raises(Overloaded, match="2 items of 0 pixels wait for model fake") as caught:
        bench.batcher.submit("c")
    assert caught.value.retry
    bench.open(waiting)


def test_cancelled_items_make_room_in_a_full_queue(make: Callable[..., Bench]) -> None:
    bench = make(queue_limit=2)
    kept, gone = bench.batcher.submit("a"), bench.batcher.submit("b")
    gone.cancel()
    late = bench.batcher.submit("c")
    assert bench.open([kept, late, gone]) == [["a", "c"]]


def priced(**limits: int) -> dict[str, Any]:
    """Options for items like "a:30", of one bucket, that cost what they say."""
    defaults = {"max_batch_cost": 1000, "queue_cost_limit": 1000}
    return {"bucket": lambda _: 0, "cost": lambda item: int(item.partition(":")[2] or 0), **defaults, **limits}


def test_a_batch_costs_no_more_than_it_may(make: Callable[..., Bench]) -> None:
    bench = make(**priced(max_batch_cost=100))
    batches = bench.open([bench.batcher.submit(item) for item in ("a:60", "b:40", "c:60", "d:50", "e:10")])
    assert batches == [["a:60", "b:40"], ["c:60"], ["d:50", "e:10"]]


def test_an_item_that_costs_more_than_a_batch_goes_alone(make: Callable[..., Bench]) -> None:
    bench = make(**priced(max_batch_cost=100))
    batches = bench.open([bench.batcher.submit(item) for item in ("a:10", "b:500", "c:10")])
    assert batches == [["a:10"], ["b:500"], ["c:10"]]


def test_others_ride_along_only_as_far_as_the_cost_allows(make: Callable[..., Bench]) -> None:
    bench = make(**priced(max_batch_cost=100))
    bulk = bench.batcher.submit("b:50", priority=Priority.BULK)
    first = bench.batcher.submit("i:60", priority=Priority.INTERACTIVE)
    assert bench.open([bulk, first]) == [["i:60"], ["b:50"]]


def test_what_waits_costs_no_more_than_it_may(make: Callable[..., Bench]) -> None:
    bench = make(**priced(queue_cost_limit=100))
    kept, gone = bench.batcher.submit("a:60"), bench.batcher.submit("b:40")
    with pytest.raises(Overloaded, match="2 items of 100 pixels wait"):
        bench.batcher.submit("c:1")
    gone.cancel()
    late = bench.batcher.submit("d:40")
    bench.open([kept, late])
    assert bench.batcher.submit("e:100").result(PATIENCE_S), "what was executed costs nothing any more"


def test_an_item_that_costs_more_than_the_queue_may_wait_alone(make: Callable[..., Bench]) -> None:
    bench = make(**priced(queue_cost_limit=100))
    alone = bench.batcher.submit("a:500")
    with pytest.raises(Overloaded):
        bench.batcher.submit("b:1")
    assert bench.open([alone]) == [["a:500"]]


@pytest.mark.parametrize("others", [one for one in Priority if one is not Priority.VIDEO])
def test_others_cannot_fill_the_queue_that_cameras_depend_on(make: Callable[..., Bench], others: Priority) -> None:
    bench = make(queue_limit=8, **{**priced(queue_cost_limit=8), "max_batch_cost": 8})
    waiting = [bench.batcher.submit(f"o{number}:1", priority=others) for number in range(4)]
    with pytest.raises(Overloaded):
        bench.batcher.submit("o:1", priority=others)
    frames = [bench.batcher.submit(f"v{number}:1", priority=Priority.VIDEO) for number in range(8)]
    free = [one for one in Priority if one not in (others, Priority.VIDEO)]
    waiting += [bench.batcher.submit("f:1", priority=one) for one in free]
    bench.open([*waiting, *frames])


def test_what_callers_bring_is_executed_after_the_frames_of_cameras(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=1)
    queue = [("k", Priority.BULK), ("b", Priority.BATCH), ("c", Priority.CALL), ("v", Priority.VIDEO)]
    queue += [("i", Priority.INTERACTIVE)]
    batches = bench.open([bench.batcher.submit(item, priority=priority) for item, priority in queue])
    assert batches == [["i"], ["v"], ["c"], ["b"], ["k"]]


def test_single_calls_go_first_where_it_is_said(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=1, order=CALLERS_FIRST)
    queue = [("b", Priority.BATCH), ("v", Priority.VIDEO), ("c", Priority.CALL)]
    batches = bench.open([bench.batcher.submit(item, priority=priority) for item, priority in queue])
    assert batches == [["c"], ["v"], ["b"]]


def test_every_caller_gets_on_while_cameras_never_let_the_model_rest(make: Callable[..., Bench]) -> None:
    bench = make(max_batch=1)
    frames = [bench.batcher.submit(f"v{number}", priority=Priority.VIDEO) for number in range(10 * FAIR_SHARE)]
    others = [one for one in Priority if one is not Priority.VIDEO]
    calls = [bench.batcher.submit(one.name, priority=one) for one in others]
    first = bench.open([*frames, *calls])[: 5 * FAIR_SHARE]
    assert all([one.name] in first for one in others)


def test_closing_finishes_what_waits(make: Callable[..., Bench]) -> None:
    bench = make()
    futures = [bench.batcher.submit(item) for item in ("a", "bb", "ccc")]
    bench.model.gate.set()
    bench.batcher.close()
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == ["a", "bb", "ccc"]


def test_closing_without_draining_cancels_what_waits(make: Callable[..., Bench]) -> None:
    bench = make()
    future = bench.batcher.submit("a")
    closing = threading.Thread(target=bench.batcher.close, kwargs={"drain": False})
    closing.start()
    with pytest.raises(CancelledError):
        future.result(PATIENCE_S)
    bench.model.gate.set()
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    assert bench.model.batches == [["gate"]]


def test_a_closed_batcher_takes_nothing(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.model.gate.set()
    bench.batcher.close()
    with pytest.raises(Unavailable, match="model fake is closed"):
        bench.batcher.submit("a")


def test_the_metrics_count_items_executions_and_waiting(make: Callable[..., Bench]) -> None:
    bench = make()
    futures = [bench.batcher.submit(item) for item in ("a", "b", "c")]
    assert bench.sample("platoon_queue_depth") == 3
    bench.now = 102.5
    bench.open(futures)
    bench.batcher.close()
    assert bench.sample("platoon_queue_depth") == 0
    assert bench.sample("platoon_model_items_total") == 4
    assert bench.sample("platoon_model_executions_total") == 2
    assert bench.sample("platoon_queue_wait_seconds_sum") == pytest.approx(3 * 2.5)


class Weighty(str):
    """A string that can be referred to weakly."""


def test_a_waiting_batcher_holds_no_item_that_it_has_answered() -> None:
    batcher: Batcher[str, int] = Batcher(
        "fake", [lambda items: list(map(len, items))], bucket=len, max_batch=4, queue_limit=9, metrics=Metrics()
    )
    item = Weighty("ab")
    reference = weakref.ref(item)
    assert batcher.submit(item).result(PATIENCE_S) == 2
    del item
    patience = time.monotonic() + PATIENCE_S
    while reference() is not None:
        assert time.monotonic() < patience, "the item is still held"
        threading.Event().wait(0.001)
    batcher.close()


@pytest.mark.parametrize("error", [ValueError("poison"), Unavailable("away")])
def test_the_items_of_a_batch_that_failed_go_with_their_replies(error: Exception) -> None:
    def execute(items: Sequence[str]) -> list[int]:
        if "ab" in items:
            raise type(error)(*error.args)
        return [0 for _ in items]

    batcher: Batcher[str, int] = Batcher("fake", [execute], bucket=len, max_batch=8, queue_limit=9, metrics=Metrics())
    gc.disable()
    try:
        items = [Weighty(text) for text in ("ab", "cd", "ef", "gh")]
        references = [weakref.ref(item) for item in items]
        replies = [batcher.submit(item) for item in items]
        assert not wait(replies, PATIENCE_S).not_done
        assert isinstance(replies[0].exception(), type(error))
        del items, replies
        patience = time.monotonic() + PATIENCE_S
        while any(reference() is not None for reference in references):
            assert time.monotonic() < patience, "items are still held"
            threading.Event().wait(0.001)
    finally:
        gc.enable()
        batcher.close()


@settings(deadline=None, max_examples=60)
@given(
    queue=st.lists(
        st.tuples(st.text("ab", min_size=1, max_size=4), st.sampled_from(Priority), st.booleans()), max_size=40
    ),
    max_batch=st.integers(1, 7),
)
def test_whatever_is_submitted_is_executed_once_in_its_bucket_and_in_order(
    queue: list[tuple[str, Priority, bool]], max_batch: int
) -> None:
    bench = Bench(max_batch=max_batch, bucket=lambda item: len(item.partition(":")[2]))
    futures = []
    for number, (text, priority, cancel) in enumerate(queue):
        future = bench.batcher.submit(f"{number}:{text}", priority=priority)
        if cancel:
            future.cancel()
        futures.append(future)
    batches = bench.open(futures)
    bench.batcher.close()
    executed = [item for batch in batches for item in batch]
    expected = [f"{number}:{text}" for number, (text, _, cancel) in enumerate(queue) if not cancel]
    assert sorted(executed) == sorted(expected)
    assert all(len(batch) <= max_batch for batch in batches)
    assert all(len({len(item.partition(":")[2]) for item in batch}) == 1 for batch in batches)
    for length in range(1, 5):
        for priority in Priority:
            order = [
                number
                for number in (int(item.partition(":")[0]) for item in executed)
                if queue[number][1] is priority and len(queue[number][0]) == length
            ]
            assert order == sorted(order)
