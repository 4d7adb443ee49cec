"""How a stream stands in the tracker, and the clocks that say so."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracker.daemon.messages import Tracked
from tracker.daemon.telemetry.latency import Latency, LatencyWindow, RateWindow
from tracker.protocol.fields import EffortInfo
from tracker.protocol.replies import ObjectInfo
from tracker.types import ObjectState


@dataclass(frozen=True, slots=True)
class StreamTrackerStatus:
    """How a stream stands in the tracker. Counters only grow while it is there.

    Attributes:
        width: Of the newest tracked frame, in pixels; 0 before the first.
        height: Likewise.
        fps: Frames tracked per second, lately.
        tracked: Frames tracked.
        failed: Frames that could not be tracked, because of an error that the log holds.
        objects: The objects on the newest frame.
        next_object_id: Given to the next new object.
        newest_seq: `seq` of the newest tracked frame; None before the first.
        bank_bytes: Held by the memories of the objects.
        commands_waiting: Commands not yet applied.
        effort: What is spent on a frame; None without a deadline.
        decode: Seconds of decoding.
        queue: Seconds that frames waited for the tracker.
        encode: Seconds in the image encoder.
        track: Seconds for memory attention, masks and new memories.
        total: Seconds from the arrival of the packet to the end of tracking.
    """

    width: int = 0
    height: int = 0
    fps: float = 0.0
    tracked: int = 0
    failed: int = 0
    objects: tuple[ObjectInfo, ...] = ()
    next_object_id: int = 1
    newest_seq: int | None = None
    bank_bytes: int = 0
    commands_waiting: int = 0
    effort: EffortInfo | None = None
    decode: Latency = field(default_factory=Latency)
    queue: Latency = field(default_factory=Latency)
    encode: Latency = field(default_factory=Latency)
    track: Latency = field(default_factory=Latency)
    total: Latency = field(default_factory=Latency)

    @property
    def states(self) -> Mapping[ObjectState, int]:
        """How many objects are in each state; a state left out has none."""
        return Counter(obj.state for obj in self.objects)


class StreamTrackerClock:
    """What tracking the frames of a stream took; one thread records, any thread reads."""

    def __init__(self) -> None:
        self.tracked = 0
        self._decode = LatencyWindow()
        self._queue, self._encode = LatencyWindow(), LatencyWindow()
        self._track, self._total = LatencyWindow(), LatencyWindow()
        self._rate = RateWindow()

    def record(self, tracked: Tracked) -> None:
        """Take in a tracked frame."""
        live, times = tracked.live, tracked.result.times
        self.tracked += 1
        self._rate.tick(tracked.tracked_s)
        self._decode.add(live.decode_s)
        self._queue.add(tracked.queue_s)
        self._encode.add(times.encode_s)
        self._track.add(times.track_s)
        self._total.add(tracked.tracked_s - live.arrived_s)

    @property
    def fps(self) -> float:
        """Frames tracked per second, lately."""
        return self._rate.per_s(time.monotonic())

    def stages(self) -> dict[str, Latency]:
        """Latencies by the names that they have in `StreamTrackerStatus`."""
        return {
            "decode": self._decode.summary(),
            "queue": self._queue.summary(),
            "encode": self._encode.summary(),
            "track": self._track.summary(),
            "total": self._total.summary(),
        }
