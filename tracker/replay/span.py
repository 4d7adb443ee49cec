"""Span of time of a recording, by the wall clock of the daemon."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tracker.errors import UsageError

_END_NS = 253_402_300_799 * 10**9  # the last second that a date has

#: A time of day in UTC, or seconds from the first frame of a recording.
Moment = datetime | float


@dataclass(frozen=True, slots=True)
class Span:
    """From `began_ns` to `ended_ns`, which is left out, in ns since 1970."""

    began_ns: int = 0
    ended_ns: int = _END_NS

    @classmethod
    def between(
        cls, start: Moment | None, stop: Moment | None, first_ns: Callable[[], int]
    ) -> "Span":
        """The span between two moments.

        Args:
            start: Its begin; None for the recording's.
            stop: Its end; None likewise.
            first_ns: Gives the time of the first frame, in ns since 1970.

        Raises:
            UsageError: It is empty.
        """
        whole = cls()
        began_ns = whole.began_ns if start is None else _ns(start, first_ns)
        ended_ns = whole.ended_ns if stop is None else _ns(stop, first_ns)
        if ended_ns <= began_ns:
            raise UsageError(
                f"--to {_text(stop)} is not after --from {_text(start)}",
                "give UTC times, or seconds from the recording's first frame",
            )
        return cls(began_ns, ended_ns)


def parse_moment(text: str) -> Moment:
    """A moment from its text: seconds, or a date and time of ISO 8601, in UTC if it says no zone.

    Raises:
        ValueError: It is neither.
    """
    try:
        seconds = float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if not 0 <= seconds <= _END_NS / 10**9:
        raise ValueError(f"{text} seconds")
    return seconds


def utc_text(at_ns: int) -> str:
    """A time in ns since 1970 as ISO 8601, with milliseconds."""
    at = datetime.fromtimestamp(at_ns // 10**6 / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ns(moment: Moment, first_ns: Callable[[], int]) -> int:
    if isinstance(moment, datetime):
        ns = round(moment.timestamp() * 10**6) * 1000
    else:
        ns = first_ns() + round(moment * 10**9)
    return min(max(ns, 0), _END_NS)


def _text(moment: Moment | None) -> str:
    return moment.isoformat() if isinstance(moment, datetime) else f"{moment or 0:g}"
