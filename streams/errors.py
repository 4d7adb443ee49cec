"""Errors that video input and output raise: one line each, with a way to fix it."""


class StreamError(Exception):
    """A source or a writer failed.

    Attributes:
        message: What failed and where; never holds the credentials of a URL.
        hint: How to fix it, or "".
        exit_code: The status that a command exits with: 1 for a failure, 2 for wrong usage.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.message = message
        self.hint = hint


class SourceNotFound(StreamError):  # noqa: N818 - reads better than SourceNotFoundError
    """There is nothing at the address."""


class SourceUnreadable(StreamError):  # noqa: N818
    """There is something at the address, but it cannot be opened or decoded."""


class SourceDenied(SourceUnreadable):
    """Whoever asks may not read it: the password is wrong, or the access rights forbid it."""


class SourceTooLarge(SourceUnreadable):
    """Its pictures, or its file, are larger than what may be decoded."""


class SourceTimeout(StreamError):  # noqa: N818
    """The source sent nothing, or no picture, for too long."""


class SourceUsageError(StreamError):
    """The address itself is wrong."""

    exit_code = 2


class WriterError(StreamError):
    """A video cannot be written."""
