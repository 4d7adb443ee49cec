"""The store of snapshots, which becomes slow at times."""

from tools.simulate.constants import Constants
from tools.simulate.cost import snapshots_bytes_per_s
from tools.simulate.fifo import FifoServer


class Store:
    """Store that serves restores in turn with what snapshots leave of it, or a share at least."""

    def __init__(self, constants: Constants, cameras: int) -> None:
        c = self._constants = constants
        bytes_share = cameras * snapshots_bytes_per_s(c) / c.store_bytes_per_s
        objects_share = cameras / c.snapshot_every_s / c.store_objects_per_s
        self._load = max(bytes_share, objects_share)  # of it that snapshots want; 1 is full
        self._reads = FifoServer()
        self._slow_s = (0.0, 0.0)

    def slow_between(self, begin_s: float, end_s: float) -> None:
        """Have it slow for a time."""
        self._slow_s = (begin_s, end_s)

    def snapshots_every_s(self, now_s: float) -> float:
        """Seconds between snapshots of a stream; more than asked for where it cannot keep up.

        Where it became slow a while ago, nothing is older than that and an interval before.
        """
        usual_s = self._constants.snapshot_every_s * max(1.0, self._load)
        if not self._is_slow(now_s):
            return usual_s
        slow_s = self._constants.snapshot_every_s * max(1.0, self._load / self._share(now_s))
        return min(slow_s, usual_s + now_s - self._slow_s[0])

    def read_s(self, now_s: float, size: float) -> float:
        """When a snapshot that is asked for now has been read."""
        c, share = self._constants, self._share(now_s)
        speed = max(share - self._load, share * c.store_restores_share)
        service_s = max(size / c.store_bytes_per_s, 1 / c.store_objects_per_s) / speed
        return self._reads.finish_s(now_s, service_s) + c.store_request_s

    def _is_slow(self, now_s: float) -> bool:
        return self._slow_s[0] <= now_s < self._slow_s[1]

    def _share(self, now_s: float) -> float:
        return self._constants.store_slow_share if self._is_slow(now_s) else 1.0
