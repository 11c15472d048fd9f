import pickle

import pytest

from platoon.errors import MissingExtra, NotFound, Overloaded, PlatoonError
from platoon.media.failures import SourceError, SourceFailure
from platoon.redaction import MOST


def test_no_error_message_holds_a_password() -> None:
    assert "secret" not in str(PlatoonError("cannot open rtsp://admin:secret@cam/1"))


def test_a_message_has_a_bound() -> None:
    assert len(str(PlatoonError("/://a:" * 100_000))) <= MOST


def test_what_callers_send_can_always_be_answered_to_them() -> None:
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
