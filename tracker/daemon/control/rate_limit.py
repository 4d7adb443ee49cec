"""Rate limit of each client: token buckets."""

from collections import OrderedDict
from dataclasses import dataclass

#: A request counts as one more for each of these bytes.
BYTES_PER_TOKEN = 64 * 1024


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float


class RateLimiter:
    """A token bucket per client; the client that was silent longest is forgotten first.

    A forgotten client starts with a full bucket again, so the bound on clients bounds memory, not
    the rate of somebody who makes up identities.

    Args:
        per_s: Requests per second that a bucket is filled with.
        burst: Requests that a full bucket holds.
        clients: Buckets that are kept.
    """

    def __init__(self, per_s: float, burst: int, clients: int) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clients = clients
        self._buckets: OrderedDict[bytes, _Bucket] = OrderedDict()

    def allow(self, client: bytes, now_s: float, nbytes: int = 0) -> bool:
        """Count a request that came at `now_s` on the monotonic clock; False: one too many.

        Args:
            client: Who sent it.
            now_s: When it came.
            nbytes: How long it is; a long one counts as several.
        """
        cost = min(self._burst, 1 + nbytes // BYTES_PER_TOKEN)
        bucket = self._buckets.setdefault(client, _Bucket(self._burst, now_s))
        self._buckets.move_to_end(client)
        if len(self._buckets) > self._clients:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now_s - bucket.filled_s) * self._per_s)
        bucket.filled_s = now_s
        if bucket.tokens < cost:
            return False
        bucket.tokens -= cost
        return True

    def __len__(self) -> int:
        return len(self._buckets)
