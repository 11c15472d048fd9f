"""How the commands speak in a terminal: what is said goes to standard error, results to standard output."""

from __future__ import annotations

import logging
import sys

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from platoon.redaction import redact, visible
from platoon.settings import Settings


def bars() -> Progress:
    """Bars that vanish when all is done."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def stderr() -> Console:
    """Where failures are shown."""
    return Console(stderr=True, soft_wrap=True)


def plain(text: str) -> str:
    """Text that rich does not take for markup, nor the terminal for commands."""
    return visible(redact(text), keep="\n\t").replace("[", r"\[")


def log_to_terminal(settings: Settings) -> None:
    """Show log lines from now on, as the settings say."""
    handler: logging.Handler
    from platoon.logs import BareLines, JsonLines, PlainLines

    form = settings.log_format
    if form == "json" or not sys.stderr.isatty():
        handler = logging.StreamHandler()
        handler.setFormatter(JsonLines() if form == "json" else PlainLines())
    else:
        handler = RichHandler(console=Console(stderr=True), show_path=False, markup=False)
        handler.setFormatter(BareLines(datefmt="%H:%M:%S"))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every damaged form it is sent
    for noisy in ("httpx", "httpcore", "libav"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
