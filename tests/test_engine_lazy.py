import threading

import pytest

from platoon.engine.lazy import Lazy
from platoon.errors import Unavailable


class Part:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_it_is_made_once_whichever_thread_comes_first() -> None:
    start, made = threading.Barrier(8), list[Part]()

    def make() -> Part:
        made.append(Part())
        return made[-1]

    lazy, got = Lazy(make, owner="the owner"), list[Part]()

    def take() -> None:
        start.wait(30)
        got.append(lazy())

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert got == made * 8
    lazy.close()
    assert made[0].closed


def test_after_closing_nothing_is_made_any_more() -> None:
    lazy = Lazy(Part, owner="the owner")
    lazy.close()
    with pytest.raises(Unavailable, match="the owner is closed"):
        lazy()
