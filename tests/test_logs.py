import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest

from platoon.logs import REQUEST, BareLines, JsonLines, PlainLines
from platoon.redaction import MOST


@pytest.fixture(autouse=True)
def plain_records() -> Iterator[None]:
    """OCRmyPDF gives every record of a process that has imported it a page."""
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)
    yield
    logging.setLogRecordFactory(factory)


def written(record: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(record)
    assert "\n" not in line
    fields: dict[str, object] = json.loads(line)
    return fields


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("platoon.test").makeRecord(
        "platoon.test", logging.WARNING, "file.py", 1, message, arguments, None, extra=extra
    )


def test_a_line_is_one_object_with_what_was_said_beside_the_message() -> None:
    line = written(record("%s in\n%d ms", "/ocr", 35, status=200, contract="fleet"))
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "logger": "platoon.test",
        "message": "/ocr in\n35 ms",
        "status": 200,
        "contract": "fleet",
    }


def test_a_line_knows_the_request_it_is_about() -> None:
    assert "request" not in written(record("outside"))
    token = REQUEST.set("order-7")
    assert written(record("inside"))["request"] == "order-7"
    REQUEST.reset(token)


@pytest.mark.parametrize("form", [JsonLines(), PlainLines()])
def test_no_password_is_written(form: logging.Formatter) -> None:
    failed = record("cannot open %s", "rtsp://admin:S3cret@cam/1")
    try:
        raise ValueError("nothing at rtsp://admin:S3cret@cam/1")
    except ValueError:
        failed.exc_info = sys.exc_info()
    assert "rtsp://" in form.format(failed)
    assert "S3cret" not in form.format(failed)


def test_a_plain_line_says_when_how_grave_and_about_which_request() -> None:
    token = REQUEST.set("order-7")
    line = PlainLines().format(record("%s in %d ms", "/ocr", 35))
    REQUEST.reset(token)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d WARNING \[order-7\] /ocr in 35 ms", line)


def test_an_error_is_written_with_its_traceback() -> None:
    try:
        raise ValueError("no good")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    assert "ValueError: no good" in str(written(failed)["error"])


@pytest.mark.parametrize("form", [JsonLines(), PlainLines(), BareLines()])
def test_nobody_outside_writes_to_a_terminal_or_a_line_of_his_own(form: logging.Formatter) -> None:
    nasty = "a\x1b[2J\r\nFORGED\0\x9b\u202eb\u2066"
    failed = record("%s", nasty, path=nasty)
    try:
        raise ValueError(nasty)
    except ValueError:
        failed.exc_info = sys.exc_info()
    lines = form.format(failed).split("\n")
    assert len(lines) == (1 if isinstance(form, JsonLines) else 5)
    assert not any(line.startswith("FORGED") for line in lines)
    assert all(character.isprintable() for line in lines for character in line)


def test_fields_show_no_password_and_have_a_bound() -> None:
    line = written(
        record(
            "%s", "x" * 100_000, path="/a?token=S3cret" + "y" * 100_000, deep={"url": ["rtsp://a:S3cret@b"]}, count=3
        )
    )
    assert "S3cret" not in str(line)
    assert line["deep"] == {"url": ["rtsp://***@b"]}
    assert line["count"] == 3
    assert len(str(line)) < 3 * MOST
