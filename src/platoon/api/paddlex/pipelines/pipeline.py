"""What parses a document, whoever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from platoon.api.paddlex.layout_request import LayoutRequest, Refusals, RestructureRequest


class Pipeline(Protocol):
    """Parses documents. Await its methods from one event loop; whoever stops waiting frees what worked for him.

    Raises:
        InvalidInput: by the file. Overloaded, DeadlineExceeded, Unavailable: by those who read it.
        FailedBehind: by a server, in its words.
    """

    cannot: Refusals
    """What of a request is refused; see `refusals`."""
    cannot_restructure: Refusals

    async def parse(self, asked: LayoutRequest, data: bytes, *, deadline: float) -> dict[str, Any]:
        """`{layoutParsingResults, dataInfo}` of the file in `data`, by a point of `time.monotonic()`."""

    async def restructure(self, asked: RestructureRequest, *, deadline: float) -> dict[str, Any]:
        """`{layoutParsingResults}`: the pages that were parsed before, put together."""

    def not_ready(self) -> Sequence[str]:
        """Why it cannot work yet; asks whoever is behind, and waits for them no longer than the settings say."""

    def close(self) -> None:
        """Give up what is under way."""
