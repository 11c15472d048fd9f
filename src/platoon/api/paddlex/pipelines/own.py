"""Documents parsed here: pages read one after the other through the shared engine, and worded as PaddleX words them.

What blocks say is left to a `BlockReader`: the own reader, or a vision-language model that is shown each block.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from platoon.api.paddlex.block_markdown import PICTURES
from platoon.api.paddlex.layout_request import OWN, RESTRUCTURE, LayoutRequest, Refusals, RestructureRequest
from platoon.api.paddlex.layout_result import (
    Shown,
    data_info,
    markdown_of_page,
    page_pictures,
    pruned_result,
    with_markdown_contents,
)
from platoon.api.paddlex.restructure import restructured
from platoon.documents.read import AT_A_TIME, OpenDocument, ReadPage, ReadsDocuments
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.errors import InvalidInput
from platoon.ocr.pages import Kind, kind_of
from platoon.ocr.reading import ReadOptions, pixels_held
from platoon.ocr.service import PixelBudget
from platoon.ocr.workers import Workers

AHEAD: Final = 2
"""Pages that are read while others wait for what their blocks say."""

Later = Callable[[], dict[str, Any]]
"""Waits for a `prunedResult`."""


class BlockReader(Protocol):
    """Finds out what stands in the blocks of a page."""

    cannot: Refusals

    def submit(self, read: ReadPage, asked: LayoutRequest, page_count: int, call: RequestContext) -> Later:
        """Begin to find out what the page says."""

    def not_ready(self) -> Sequence[str]:
        """Why it cannot work yet."""

    def close(self) -> None:
        """Let go of what it holds."""


class OwnBlockReader:
    """Blocks say what was read here."""

    cannot = OWN

    def submit(self, read: ReadPage, asked: LayoutRequest, page_count: int, call: RequestContext) -> Later:
        """See `BlockReader`."""
        del call
        pruned = pruned_result(read.page, asked.options(), page_count=page_count, word_boxes=bool(asked.returnWordBox))
        return lambda: pruned

    def not_ready(self) -> tuple[()]:
        """The engine's readiness is the service's to report."""
        return ()

    def close(self) -> None:
        """Nothing is held."""


class OwnPipeline:
    """A `Pipeline` in this process.

    Args:
        reader: stays its owner's. So does `block_reader`, until `close`.
        workers: threads of its own, for as many documents as are parsed at once.
        budget: of the pixels that all callers hold.
        max_lines: of a page; one with more is not read.
    """

    cannot_restructure = RESTRUCTURE

    def __init__(
        self,
        reader: ReadsDocuments,
        block_reader: BlockReader,
        workers: Workers,
        budget: PixelBudget,
        *,
        max_lines: int,
    ) -> None:
        self._reader, self._block_reader, self._workers, self._budget = reader, block_reader, workers, budget
        self._max_lines = max_lines
        self.cannot = block_reader.cannot

    async def parse(self, asked: LayoutRequest, data: bytes, *, deadline: float) -> dict[str, Any]:
        """See `Pipeline`."""
        priority = Priority.CALL if kind_of(data) is Kind.IMAGE else Priority.BULK
        left_s = max(0.0, deadline - time.monotonic())
        return await self._workers.run(priority, lambda call: self._parse(asked, data, call), most_s=left_s)

    async def restructure(self, asked: RestructureRequest, *, deadline: float) -> dict[str, Any]:
        """See `Pipeline`."""
        del deadline
        return {"layoutParsingResults": await asyncio.to_thread(put_together, asked)}

    def not_ready(self) -> Sequence[str]:
        """See `Pipeline`."""
        return self._block_reader.not_ready()

    def close(self) -> None:
        """See `Pipeline`."""
        self._workers.close()
        self._block_reader.close()

    def _parse(self, asked: LayoutRequest, data: bytes, call: RequestContext) -> dict[str, Any]:
        call.check()
        results: list[dict[str, Any]] = []
        options = asked.options()
        options = replace(options, read_options=replace(options.read_options, max_lines=self._max_lines))
        with self._reader.open(data, options, call) as document:
            if asked.fileType is not None and (asked.fileType == 0) != (document.kind is Kind.PDF):
                raise InvalidInput(f"the file is of the kind {document.kind}, not {('pdf', 'image')[asked.fileType]}")
            with self._budget.holding(_held(document.sizes, options.read_options), call):
                results.extend(self._results(document, asked, call))
            info = data_info(document.kind, document.sizes)
        failed = [result["prunedResult"]["error"] for result in results if "error" in result["prunedResult"]]
        if failed and len(failed) == len(results):
            raise InvalidInput(failed[0])
        shown = asked.shown()
        if asked.restructurePages:
            pages = restructured(
                [result["prunedResult"] for result in results],
                merge_tables=asked.mergeTables,
                relevel_titles=asked.relevelTitles,
            )
            for result, page in zip(results, pages, strict=True):
                result |= {
                    "prunedResult": page,
                    "markdown": markdown_of_page(page, shown, result["markdown"]["images"]),
                }
        if shown.markdown_contents:
            for result in results:
                result["prunedResult"] = with_markdown_contents(result["prunedResult"], shown.style)
        return {"layoutParsingResults": results, "dataInfo": info}

    def _results(self, document: OpenDocument, asked: LayoutRequest, call: RequestContext) -> Iterator[dict[str, Any]]:
        shown = asked.shown()
        waiting: deque[tuple[ReadPage, Later]] = deque()
        for read in document:
            waiting.append((read, self._block_reader.submit(read, asked, len(document.sizes), call)))
            if len(waiting) > AHEAD:
                yield _finished(*waiting.popleft(), shown)
        while waiting:
            call.check()
            yield _finished(*waiting.popleft(), shown)


def put_together(asked: RestructureRequest) -> list[dict[str, Any]]:
    """The `layoutParsingResults` of pages that were parsed before."""
    shown = asked.shown()
    pages: list[dict[str, Any]] = []
    images: list[dict[str, str]] = []
    known: dict[str, str] = {}
    """Path -> picture, of all pages before."""
    for index, page in enumerate(asked.pages):
        pruned = page.prunedResult.model_dump()
        pictures = dict(page.markdownImages or {})
        moved = _moved(pictures, known, index) if asked.concatenatePages else {}
        for block in pruned["parsing_res_list"]:
            if block["block_label"] in PICTURES:
                path = block.get("block_image") or _paddlex_path(block)
                block["block_image"] = moved.get(path, path)
        pages.append(pruned)
        images.append({moved.get(path, path): data for path, data in pictures.items()})
        known |= images[-1]
    whole = restructured(
        pages,
        merge_tables=asked.mergeTables,
        relevel_titles=asked.relevelTitles,
        concatenate=asked.concatenatePages,
    )
    if asked.concatenatePages:
        images = [{path: data for pictures in images for path, data in pictures.items()}]
    return [
        {"prunedResult": page, "markdown": markdown_of_page(page, shown, own if shown.images else {})}
        for page, own in zip(whole, images, strict=False)
    ]


def _moved(pictures: dict[str, str], known: dict[str, str], index: int) -> dict[str, str]:
    """New paths for pictures that have those of others on pages before."""
    return {
        path: f"imgs/page_{index + 1}_{path.rpartition('/')[2]}"
        for path, data in pictures.items()
        if known.get(path, data) != data
    }


def _paddlex_path(block: dict[str, Any]) -> str:
    """Where PaddleX has the picture of a block."""
    return f"imgs/img_in_{block['block_label']}_box_{'_'.join(str(int(side)) for side in block['block_bbox'])}.jpg"


def _finished(read: ReadPage, later: Later, shown: Shown) -> dict[str, Any]:
    pruned = later()
    images, drawn = page_pictures(read.page, pruned, read.picture, shown)
    return {"prunedResult": pruned, "markdown": markdown_of_page(pruned, shown, images), **drawn}


def _held(sizes: Sequence[tuple[int, int]], read_options: ReadOptions) -> int:
    """Pixels that count for the pages that are in memory at once."""
    costs = sorted((pixels_held(width, height, read_options) for width, height in sizes), reverse=True)
    return sum(costs[: AT_A_TIME + AHEAD])
