"""From an exception to one line on stderr and an exit code."""

import argparse
import errno
import os
import sys
import traceback
from typing import NoReturn

from tracker.cli.printable import printable
from tracker.errors import TrackdError, UsageError
from tracker.exhausted import exhausted

INTERRUPTED = 130
_OF_THE_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`, one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and leaving."""
        raise UsageError(message, f"see {self.prog} --help")


def report(error: BaseException) -> int:
    """Print what went wrong on stderr and return the exit code.

    With `TRACKD_DEBUG=1` in the environment the traceback comes first.
    """
    from streams.errors import StreamError

    debug = os.environ.get("TRACKD_DEBUG", "") not in ("", "0")
    if debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        text, code = "interrupted", INTERRUPTED
    elif isinstance(error, TrackdError | StreamError):
        text, code = str(error), error.exit_code
    elif (limit := exhausted(error)) is not None:
        text, code = str(limit), limit.exit_code
    elif isinstance(error, OSError) and error.errno in _OF_THE_OUTPUT and not error.filename:
        text, code = f"cannot write the output: {error.strerror}", 1
    else:
        text, code = f"{type(error).__name__}: {error}", 1
        text += "; this is a bug" + ("" if debug else "; run with TRACKD_DEBUG=1 for the traceback")
    print("trackd: error:", printable(" ".join(text.split())), file=sys.stderr)
    return code
