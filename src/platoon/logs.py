"""Log lines: one JSON object each for machines, plain text for files; with the id of the request they are about.

What a line says beyond its message is given as `extra` and becomes fields of the object. Whatever is written is cut,
without credentials, and without control characters: nobody outside writes a line of his own, or to a terminal. Whom
lines are for is for the commands to choose; nothing is configured on import.
"""

from __future__ import annotations

import json
import logging
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from platoon.redaction import redact, visible

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being worked on, in whatever thread; empty outside of one."""

MOST_OF_A_TRACEBACK = 32_768
"""Characters."""
_DEEPEST = 4
"""Of what a field holds."""
_OWN = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"))


class JsonLines(logging.Formatter):
    """`{"time", "level", "logger", "message", "request"?, "error"?, ...}`; times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if request := REQUEST.get():
            line["request"] = request
        line |= {name: _as_json(value) for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info), MOST_OF_A_TRACEBACK)
        # Escapes of control characters mean themselves to whoever reads JSON.
        return visible(json.dumps(line, ensure_ascii=False))


class PlainLines(logging.Formatter):
    """`time LEVEL [request] message`, then the traceback if there is one; times are local, to the millisecond."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and more for an error."""
        line = self.begin(record) + visible(redact(record.getMessage()))
        if record.exc_info:
            line += f"\n{redact(self.formatException(record.exc_info), MOST_OF_A_TRACEBACK)}"
        return line

    def begin(self, record: logging.LogRecord) -> str:
        """What stands before the message."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(sep=" ", timespec="milliseconds")
        request = f" [{request}]" if (request := REQUEST.get()) else ""
        return f"{when} {record.levelname}{request} "

    def formatException(  # noqa: N802 (logging's name)
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The traceback, its own line ends the only ones in it."""
        return "".join(_own_lines(part) for part in traceback.format_exception(*ei)).rstrip("\n")


class BareLines(PlainLines):
    """The message alone, for what says itself when and how grave."""

    def begin(self, _record: logging.LogRecord) -> str:
        """Nothing."""
        return ""


def _own_lines(part: str) -> str:
    """A part of a traceback: frames, which are indented, or one line that may repeat what came from outside."""
    if part.startswith("  "):
        return visible(part, keep="\n")
    inner = part.strip("\n")
    start = part.find(inner)
    return f"{part[:start]}{visible(inner)}{part[start + len(inner) :]}"


def _as_json(value: Any, depth: int = 0) -> Any:
    """What a field says, as JSON can."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < _DEEPEST and isinstance(value, dict):
        return {redact(key): _as_json(item, depth + 1) for key, item in value.items()}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [_as_json(item, depth + 1) for item in value]
    return redact(value)
