"""Findings of `trackd doctor`: one line each, with a way to fix it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from tracker.errors import TrackdError


class Status(StrEnum):
    """Severity of a finding: as it should be; works, with a drawback; does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        what: What was looked at, and what was found.
        fix: What to do; "" where nothing is to be done.
    """

    status: Status
    what: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f"  — {self.fix}" if self.fix else ""
        return f"{self.status.value:<4}  {self.what}{fix}"


def ok(what: str) -> Check:
    """All is well."""
    return Check(Status.OK, what)


def warn(what: str, fix: str) -> Check:
    """It works, with a drawback."""
    return Check(Status.WARN, what, fix)


def fail(what: str, fix: str) -> Check:
    """It does not work."""
    return Check(Status.FAIL, what, fix)


def examine(name: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """Findings of `look`; a look that breaks is a finding, too."""
    from streams.errors import StreamError

    try:
        yield from look()
    except (TrackdError, StreamError) as error:
        yield fail(f"{name}: {error.message}", error.hint)
    except Exception as error:  # a broken installation is what this command is for
        text = " ".join(f"{type(error).__name__}: {error}".split())
        yield fail(f"{name} cannot be checked: {text}", "install trackd again")
