"""Log lines: one JSON object each for machines, plain text for files; with the id of the request they are about.

What a line says beyond its message is given as `extra` and becomes fields of the object. Whom lines are for is for the
commands to choose; nothing is configured on import.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

from platoon.errors import redact

REQUEST: ContextVar[str] = ContextVar("request", default="")
"""The id of the request that is being worked on, in whatever thread; empty outside of one."""

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
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainLines(logging.Formatter):
    """`time LEVEL [request] message`, then the traceback if there is one; times are local, to the millisecond."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and more for an error."""
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(sep=" ", timespec="milliseconds")
        request = f" [{request}]" if (request := REQUEST.get()) else ""
        line = f"{when} {record.levelname}{request} {record.getMessage()}"
        if record.exc_info:
            line += f"\n{self.formatException(record.exc_info)}"
        return redact(line)
