"""Whose turn it is, of several that are not equally urgent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

FAIR_SHARE = 8
"""Of the turns that the urgent take while others wait, one in so many goes to these, so that none starves."""


class FairTurns:
    """The most urgent first; not thread-safe.

    What is urgent yields after `FAIR_SHARE - 1` turns of its own only, whoever had turns besides: a single urgent one
    among many others never waits for them. Of the others the one has the turn that has been without for longest.
    """

    def __init__(self) -> None:
        self._number = 0
        self._last: Counter[int] = Counter()
        """By rank, the number of its last turn."""
        self._ahead: Counter[int] = Counter()
        """By rank, its turns since a less urgent one had the last, as far as one waited."""

    def next(self, ranks: Collection[int]) -> int:
        """The rank that has the turn, of those that wait for one; 0 is the most urgent."""
        first, *others = sorted(ranks)
        if others and self._ahead[first] >= FAIR_SHARE - 1:
            first = min(others, key=self._last.__getitem__)
        elif others:
            self._ahead[first] += 1
        for rank in self._ahead:
            if rank < first:
                self._ahead[rank] = 0
        self._number += 1
        self._last[first] = self._number
        return first
