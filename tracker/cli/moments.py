"""Options that name a time of a recording."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracker.replay.span import Moment

MOMENT_HELP = "UTC as 2026-11-28T14:00:00, or seconds from the first frame"


def moment(text: str) -> "Moment":
    """The time that an option names."""
    from tracker.replay.span import parse_moment

    try:
        return parse_moment(text)
    except (ValueError, OverflowError):
        hint = "write UTC as 2026-11-28T14:00:00, or seconds as 90"
        raise argparse.ArgumentTypeError(f"{text!r} is no time: {hint}") from None
