"""One exception tree. Each error says what happened, with which input and what to do, and knows its HTTP status.

Whatever text comes from outside passes through `redact` (see `redaction`) before it enters a message, a log line or a
page.
"""

from typing import Any

from platoon.redaction import redact


class PlatoonError(Exception):
    """Base of all errors that Platoon raises on purpose; the message is redacted."""

    status = 500
    """HTTP status that says the same."""
    retry = False
    """Whether the same call may succeed later."""

    def __init__(self, message: object) -> None:
        super().__init__(redact(message))

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes whole, whatever their constructors ask for."""
        return _revive, (type(self), str(self), self.__dict__)


class InvalidInput(PlatoonError, ValueError):
    """The caller's bytes or arguments cannot be used."""

    status = 422


class TooLarge(InvalidInput):
    """The input exceeds a limit of size or pixels."""

    status = 413


class Unsupported(InvalidInput):
    """The bytes are of a kind that is not taken here."""

    status = 415


class Unauthorised(PlatoonError):
    """No API key came with the call, or none that is known."""

    status = 401


class Forbidden(PlatoonError):
    """The caller may not do this."""

    status = 403


class NotFound(PlatoonError, LookupError):
    """There is no such camera, event or file."""

    status = 404


class InvalidSettings(PlatoonError, ValueError):
    """A setting, a flag or the camera registry cannot be used; says where and why."""


class MissingExtra(PlatoonError, ImportError):
    """A feature needs a package that is not installed; says which extra brings it."""

    status = 501

    @classmethod
    def of(cls, feature: str, extra: str) -> "MissingExtra":
        """The error for `feature`, which `pip install 'platoon[extra]'` would enable."""
        return cls(f"{feature} needs an extra: pip install 'platoon[{extra}]'")


class ModelError(PlatoonError):
    """A model file cannot be loaded, or its inputs and outputs are none that Platoon can read."""


class Overloaded(PlatoonError):
    """A queue is full; try again after `retry_after_s` seconds."""

    status = 429
    retry = True

    def __init__(self, message: object, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(PlatoonError, TimeoutError):
    """The answer would come too late; time in the queue counts."""

    status = 504
    retry = True


class Unavailable(PlatoonError):
    """What was asked for is not there now: a camera without a picture, an engine still warming up."""

    status = 503
    retry = True


class FailedBehind(PlatoonError):
    """The server behind answers with an error; its `errorCode` is the status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status if 400 <= status < 600 else 500


class StoreError(PlatoonError):
    """Events or pictures cannot be written or read: disk full, no permission, damaged database."""

    status = 507
    retry = True


class StoreUnusable(StoreError):
    """What is kept cannot be got at: a damaged or foreign file, no permission, a Redis that is away."""

    status = 503


def says_retry(error: BaseException) -> bool:
    """Whether an error says that the same may succeed later: it is about a server or a queue, not about an input."""
    return isinstance(error, PlatoonError) and error.retry


def _revive(kind: type[PlatoonError], message: str, state: dict[str, Any]) -> PlatoonError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error
