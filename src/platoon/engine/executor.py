"""What executing a graph means, for whoever does it and whoever has it done: nothing here executes anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from platoon.arrays import Array

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The inputs that a graph will see, (N, H, W, 3) each."""

    smallest: Shape
    usual: Shape
    """What it should be fastest for."""
    largest: Shape

    def __contains__(self, shape: Shape) -> bool:
        """Whether each axis of `shape` lies between the smallest and the largest."""
        return len(shape) == len(self.usual) and all(
            low <= length <= high for low, length, high in zip(self.smallest, shape, self.largest, strict=True)
        )


class Executor(Protocol):
    """Executes a loaded graph. Not thread-safe."""

    def __call__(self, batch: Array) -> tuple[NDArray[Any], ...]:
        """The outputs for `batch`, wherever it lies; its first axis is the items. They belong to the caller, and lie on
        the host, where text is made of them.
        """

    def close(self) -> None:
        """Free what it holds; calling it afterwards is an error."""


class Runtime(Executor, Protocol):
    """A loaded graph."""

    @property
    def name(self) -> str:
        """What executes it, for logs and reports."""

    @property
    def on_cpu(self) -> bool:
        """Whether executing it takes the processor, and thus a slot of the gate (`engine.gate`)."""

    def prepare(self, shape: Shape) -> None:
        """Get ready for inputs of exactly `shape`, which then run faster. Other shapes still run."""

    def foreground(self) -> Sequence[Executor]:
        """As many executors as work well at once, each for a thread of its own. They end with this runtime."""

    def background(self) -> Sequence[Executor]:
        """The same graph for work that nobody waits for: as many executors, each for a thread of its own and for the
        caller to close; none where such work goes through the foreground too.
        """
