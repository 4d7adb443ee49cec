"""Errors between a client and the daemon."""

from pydantic import ValidationError

from tracker.errors import TrackdError
from tracker.protocol.fields import VERSION
from tracker.protocol.replies import ErrorBody, ErrorCode


class DaemonError(TrackdError):
    """The daemon refused a request.

    Attributes:
        code: Why, for programs to branch on.
    """

    def __init__(self, body: ErrorBody) -> None:
        super().__init__(body.message, body.hint)
        self.code: ErrorCode = body.code


class DaemonUnreachable(TrackdError):  # noqa: N818 - reads better than DaemonUnreachableError
    """The daemon did not answer, or sent nothing, in time."""


class BadMessage(TrackdError):  # noqa: N818 - reads better than BadMessageError
    """The other side sent something that is no message of this version of the protocol."""


def not_understood(what: str, error: ValidationError) -> BadMessage:
    """Error for a message that has another form."""
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "message"
    return BadMessage(
        f"{what} is not of protocol v{VERSION}: {place}: {first['msg']}",
        "daemon and client must be of the same version",
    )
