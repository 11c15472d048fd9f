"""Reads a document in a process of its own, so that what it costs can be measured: Platoon, or RapidOCR page by page.

It says `ready` once all is loaded and a page was read, `page` after each, and `done`, with the time of each and the CPU
time until then; then it waits for its end.

python -m benchmarks.paged platoon | rapidocr | "rapidocr tuned" FILE
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pypdfium2

from benchmarks.rapid import WAYS, Rapid
from platoon.documents.convert import open_reader
from platoon.documents.read import Options
from platoon.engine.batcher import Priority
from platoon.engine.request_context import RequestContext
from platoon.ocr.pdf_process import SCALE
from platoon.settings import Settings


def by_platoon(path: Path) -> Iterator[object]:
    """Its pages as they are read; the first one twice."""
    data = path.read_bytes()
    with open_reader(Settings()) as reader:
        for pages in ("1", ""):
            options = Options(pages=pages, text_layer="ignore")
            with RequestContext(Priority.BULK) as call, reader.open(data, options, call) as document:
                yield from document


def by_rapid(path: Path, way: str) -> Iterator[object]:
    """As `by_platoon`, each drawn when its turn comes."""
    one = Rapid(**WAYS[way])
    document = pypdfium2.PdfDocument(path)
    for index in (0, *range(len(document))):
        bitmap = document[index].render(scale=SCALE, rev_byteorder=True, prefer_bgrx=False)
        yield one.read(np.array(bitmap.to_numpy()))


def say(what: str) -> None:
    """With the time, which is the same for all processes, and the CPU time of this one and those it started."""
    own = psutil.Process()
    cpu_s = sum(sum(process.cpu_times()[:4]) for process in (own, *own.children(recursive=True)))
    print(what, time.monotonic(), cpu_s, flush=True)


def main(way: str, file: str) -> None:
    """Read, and wait."""
    reading = by_platoon(Path(file)) if way == "platoon" else by_rapid(Path(file), way)
    for number, _ in enumerate(reading):
        say("page" if number else "ready")
    say("done")
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
