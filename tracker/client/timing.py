"""Timeouts of clients, and their errors."""

import math
import time

from tracker.client.errors import DaemonUnreachable
from tracker.client.sockets import Endpoints

ATTEMPTS = 2
"""A request is sent again, under the same id, after its part of the time."""

DEFAULT_TIMEOUT_S = 10.0


class Deadline:
    """A point on the monotonic clock; None is never."""

    def __init__(self, timeout_s: float | None) -> None:
        self._at_s = None if timeout_s is None else time.monotonic() + timeout_s

    def later(self, by_s: float) -> "Deadline":
        """One that is so many seconds later."""
        moved = Deadline(None)
        moved._at_s = None if self._at_s is None else self._at_s + by_s
        return moved

    def left_ms(self, *, at_most_s: float = math.inf) -> int | None:
        """Milliseconds until then, at least 0; None for ever."""
        left_s = at_most_s if self._at_s is None else self._at_s - time.monotonic()
        left_s = min(left_s, at_most_s)
        return None if math.isinf(left_s) else max(0, math.ceil(1000 * left_s))


def no_answer(
    to: Endpoints, timeout_s: float, *, connected: bool, why: str = ""
) -> DaemonUnreachable:
    """Error for a request without a reply; `why` nobody was reached, where that is known.

    Keys that are wrong look like nobody at all: the daemon does not say so.
    """
    if why:
        hint = f"is `trackd serve` running? {why}"
    elif connected:
        hint = "something is there; allow it more time, or look at its log"
    elif to.keys is not None:
        hint = "is `trackd serve` running, and are the keys the right ones?"
    else:
        hint = (
            "is `trackd serve` running? if it asks for keys, give them; without, it answers only "
            "its own user, root, and those in security.allow_users"
        )
    return DaemonUnreachable(f"no answer from {to.control} within {timeout_s:g} s", hint)


def no_message(to: Endpoints, timeout_s: float) -> DaemonUnreachable:
    """Error for a subscription without messages."""
    return DaemonUnreachable(
        f"no message from {to.data} within {timeout_s:g} s",
        "is the stream running? see `trackd streams`",
    )
