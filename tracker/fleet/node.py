"""A node as the head sees it: asked every second, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from tracker.client import Client
from tracker.errors import TrackdError
from tracker.fleet.config import NodeConfig
from tracker.fleet.placement import NodeView, SeenStream
from tracker.protocol.replies import StreamInfo, StreamState

JOB_TIMEOUT_S = 10.0

_TRACKER_STAGES = ("encode", "track")
_LOG = logging.getLogger("trackd.fleet")


class Node:
    """A daemon of the fleet.

    Args:
        config: How it is reached.
        streams: Names of the fleet's streams.
        timeout_s: It is dead where it did not answer for so long.
        clock_s: Monotonic clock.

    Attributes:
        config: As given.
        client: For what takes longer than a heartbeat.
        draining: It is to have no streams.
        error: Why the newest question was not answered, one line; "" otherwise.
    """

    def __init__(
        self,
        config: NodeConfig,
        streams: Collection[str],
        *,
        timeout_s: float,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.client = self._connect(JOB_TIMEOUT_S)
        self.draining = False
        self.error = ""
        self._streams = frozenset(streams)
        self._timeout_s = timeout_s
        self._clock_s = clock_s
        self._heartbeat = self._connect(timeout_s / 2)
        self._started_s = clock_s()
        self._answered_s: float | None = None
        self._seen: dict[str, SeenStream] = {}
        self._asking = threading.Lock()

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    def ask(self) -> None:
        """Ask what it has, and take note of it; never raises. From any thread."""
        with self._asking:
            try:
                infos, metrics = self._heartbeat.streams(), self._heartbeat.metrics()
            except TrackdError as err:
                if not self.error:
                    _LOG.warning("node %s: %s", self.name, err)
                self.error = str(err)
                return
            if self.error:
                _LOG.info("node %s answers again", self.name)
            stages = {one["stream"]: one for one in metrics.get("streams", ())}
            self._seen = {
                info.stream: _seen(info, stages.get(info.stream, {}))
                for info in infos
                if info.stream in self._streams
            }
            self._answered_s, self.error = self._clock_s(), ""

    def view(self) -> NodeView:
        """The node as it was last heard of."""
        now_s, answered_s = self._clock_s(), self._answered_s
        heard = answered_s is not None
        alive = answered_s is not None and now_s - answered_s <= self._timeout_s
        settled = heard or now_s - self._started_s > self._timeout_s
        return NodeView(self.name, alive, settled, self.draining, self._seen)

    def close(self) -> None:
        """Close its sockets."""
        self.client.close()
        self._heartbeat.close()

    def _connect(self, timeout_s: float) -> Client:
        one = self.config
        return Client(
            one.control,
            one.data,
            timeout_s=timeout_s,
            client_key=one.client_key,
            server_key=one.server_key,
        )


def _seen(info: StreamInfo, measured: dict[str, Any]) -> SeenStream:
    stages = measured.get("stages", {})
    frame_s = sum(float(stages.get(one, {}).get("p50_s", 0.0)) for one in _TRACKER_STAGES)
    ready = info.state is not StreamState.PAUSED or info.objects > 0
    return SeenStream(info.owner_epoch, ready, 1000 * frame_s, min(1.0, frame_s * info.fps))
