"""What `trackd doctor` finds: one line each, with a way to mend it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tracker.errors import TrackdError


class Status(StrEnum):
    """How bad it is: as it should be; works, with a drawback; does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        what: What was looked at, and what was found.
        mend: What to do; "" where nothing is to be done.
    """

    status: Status
    what: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f"  — {self.mend}" if self.mend else ""
        return f"{self.status.value:<4}  {self.what}{mend}"


def ok(what: str) -> Check:
    """All is well."""
    return Check(Status.OK, what)


def warn(what: str, mend: str) -> Check:
    """It works, with a drawback."""
    return Check(Status.WARN, what, mend)


def fail(what: str, mend: str) -> Check:
    """It does not work."""
    return Check(Status.FAIL, what, mend)


def examine(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """What `look` finds; a look that breaks is a finding, too."""
    from streams.errors import StreamError

    try:
        yield from look()
    except (TrackdError, StreamError) as error:
        yield fail(f"{name}: {error.message}", error.hint)
    except Exception as error:  # a broken installation is what this command is for
        text = " ".join(f"{type(error).__name__}: {error}".split())
        yield fail(f"{name} cannot be checked: {text}", "install trackd again")
