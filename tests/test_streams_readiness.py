"""What has to work before frames can be analysed, with servers that go and come by a clock of their own."""

import threading
from collections.abc import Callable

import pytest

from platoon.errors import DeadlineExceeded, ModelError, Unavailable
from platoon.streams.readiness import ATTEMPTS_MOST, WAITS_S, Readiness

PATIENCE_S = 30.0


class Clock(threading.Event):
    """A `stopping` that nobody waits for: it notes for how long it was waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0.0
        return self.is_set()


class Server:
    """Away as long as its clock says, and notes when it was asked."""

    def __init__(self, *, until: float = 0.0, error: Callable[[], Exception] = lambda: Unavailable("away")) -> None:
        self.clock = Clock()
        self.until, self.error = until, error
        self.asked: list[float] = []
        self.readiness = Readiness(self, self.clock)

    def __call__(self) -> None:
        self.asked.append(self.clock.now)
        if self.clock.now < self.until:
            raise self.error()


def test_a_server_that_is_away_at_the_start_is_waited_for_for_an_hour_and_asked_ever_more_rarely() -> None:
    server = Server(until=3600.0)
    assert "warming up" in str(server.readiness.trouble)
    server.readiness.begin()
    assert server.readiness.wait(PATIENCE_S)
    assert server.readiness.trouble is None
    assert 3600 / (1.25 * WAITS_S[1]) < len(server.asked) < 3600 / (0.75 * WAITS_S[1]) + 10, "neither busy nor asleep"
    waits = [after - before for before, after in zip(server.asked, server.asked[1:], strict=False)]
    assert waits[0] <= 1.25 * WAITS_S[0]
    assert max(waits) <= 1.25 * WAITS_S[1]


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("hangs")])
def test_a_server_that_goes_later_is_named_and_waited_for(error: Exception) -> None:
    server = Server()
    server.readiness.begin()
    assert server.readiness.wait(PATIENCE_S)
    server.until, server.error = server.clock.now + 600, lambda: error
    server.readiness.lost(error)
    assert server.readiness.wait(PATIENCE_S)
    assert server.readiness.failure is None
    assert server.clock.now >= 600


def test_what_cannot_be_loaded_at_the_start_ends_it_at_once_with_its_cause() -> None:
    server = Server(until=1e9, error=lambda: ModelError("no weights"))
    server.readiness.begin()
    server.readiness.join()
    assert str(server.readiness.failure) == "no weights"
    assert len(server.asked) == 1


def test_an_engine_that_is_broken_for_good_ends_it_after_some_minutes() -> None:
    server = Server()
    server.readiness.begin()
    assert server.readiness.wait(PATIENCE_S)
    server.until, server.error = 1e9, lambda: RuntimeError("the GPU was lost")
    server.readiness.lost(RuntimeError("the GPU was lost"))
    server.readiness.join()
    assert str(server.readiness.failure) == "RuntimeError: the GPU was lost"
    assert len(server.asked) == 1 + ATTEMPTS_MOST
    assert 60 < server.clock.now < 600


def test_errors_that_say_retry_never_count_towards_giving_up() -> None:
    server = Server()
    server.readiness.begin()
    assert server.readiness.wait(PATIENCE_S)
    turns = iter(range(10**9))
    server.until = server.clock.now + 3600
    server.error = lambda: ModelError("not loaded yet") if next(turns) % ATTEMPTS_MOST else Unavailable("away")
    server.readiness.lost(Unavailable("away"))
    assert server.readiness.wait(PATIENCE_S)
    assert server.readiness.failure is None


def test_recordings_do_not_wait_for_a_server_that_was_never_there() -> None:
    server = Server(until=1e9)
    impatient = Readiness(server, server.clock, patient=False)
    impatient.begin()
    impatient.join()
    assert str(impatient.failure) == "away"


def test_stopping_ends_the_wait() -> None:
    stopping = threading.Event()
    asked = threading.Event()

    def attempt() -> None:
        asked.set()
        raise Unavailable("away")

    readiness = Readiness(attempt, stopping)
    readiness.begin()
    assert asked.wait(PATIENCE_S)
    stopping.set()
    readiness.join()
    assert not readiness.wait(0)


def test_of_several_that_find_out_that_it_went_the_first_is_heard() -> None:
    works, attempts = threading.Event(), list[int]()

    def attempt() -> None:
        attempts.append(len(attempts))
        assert works.wait(PATIENCE_S)

    readiness = Readiness(attempt, Clock())
    works.set()
    readiness.begin()
    assert readiness.wait(PATIENCE_S)
    works.clear()
    readiness.lost(Unavailable("gone"))
    readiness.lost(DeadlineExceeded("hangs"))
    assert str(readiness.trouble) == "gone"
    works.set()
    assert readiness.wait(PATIENCE_S)
    assert len(attempts) == 2
