"""A single server with a first-in, first-out queue."""


class FifoServer:
    """Single server without a limit to its queue; work that comes is done in turn.

    A stream has one piece of work at a time, so no more wait than there are streams.
    """

    def __init__(self) -> None:
        self._free_at_s = 0.0

    def finish_s(self, now_s: float, service_s: float) -> float:
        """Take in work that comes at `now_s`, later than all before; returns when it is done."""
        self._free_at_s = max(now_s, self._free_at_s) + service_s
        return self._free_at_s
