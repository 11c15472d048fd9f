import json
import logging
import sys

from platoon.logs import REQUEST, JsonLines


def written(record: logging.LogRecord) -> dict[str, object]:
    line = JsonLines().format(record)
    assert "\n" not in line
    told: dict[str, object] = json.loads(line)
    return told


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("platoon.test").makeRecord(
        "platoon.test", logging.WARNING, "file.py", 1, message, arguments, None, extra=extra
    )


def test_a_line_is_one_object_with_what_was_said_beside_the_message() -> None:
    told = written(record("%s in\n%d ms", "/ocr", 35, status=200, contract="fleet"))
    assert told.pop("time")
    assert told == {
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


def test_no_password_is_written() -> None:
    assert "secret" not in JsonLines().format(record("cannot open %s", "rtsp://admin:secret@cam/1"))


def test_an_error_is_written_with_its_traceback() -> None:
    try:
        raise ValueError("no good")
    except ValueError:
        failed = record("failed")
        failed.exc_info = sys.exc_info()
    assert "ValueError: no good" in str(written(failed)["error"])
