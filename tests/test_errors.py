import pickle

import pytest

from platoon.errors import MissingExtra, NotFound, Overloaded, PlatoonError, redact
from platoon.media.input import SourceError, SourceFailure


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/ch1", "rtsp://***@10.0.0.5:554/ch1"),
        ("rtsp://admin:p@ss@w0rd@cam/1", "rtsp://***@cam/1"),
        ("cannot open rtsp://u:p@a/1 and http://v:q@b/2", "cannot open rtsp://***@a/1 and http://***@b/2"),
        ("http://cam/video?user=admin&password=secret&x=1", "http://cam/video?user=***&password=***&x=1"),
        ("http://cam/video?x=1&pwd=secret", "http://cam/video?x=1&pwd=***"),
        ("rtsp://u:p/w#d?@cam/1", "rtsp://***@cam/1"),
        ("rtsp://cam:554/a@b", "rtsp://cam:554/a@b"),
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("plain text, no url", "plain text, no url"),
    ],
)
def test_credentials_of_urls_are_masked(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_no_error_message_holds_a_password() -> None:
    assert "secret" not in str(PlatoonError("cannot open rtsp://admin:secret@cam/1"))


def test_what_callers_send_can_always_be_told_to_them() -> None:
    assert str(NotFound("no model \ud800")).encode() == b"no model \\ud800"


def test_an_error_is_also_the_builtin_that_callers_expect() -> None:
    with pytest.raises(LookupError):
        raise NotFound("no camera")


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert "pip install 'platoon[gpu]'" in str(MissingExtra.of("decoding on the GPU", "gpu"))


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no camera 'x'"),
        Overloaded("full", retry_after_s=3.5),
        SourceError("cam: refused", failure=SourceFailure.REFUSED, final=False),
    ],
)
def test_errors_travel_between_processes_whole(error: PlatoonError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.__dict__ == error.__dict__
