"""Clocks and counters of a stream in the tracker."""

import time

from tracker.daemon.messages import Tracked
from tracker.daemon.telemetry.latency import Latency, LatencyWindow, RateWindow
from tracker.daemon.telemetry.status import TrackingStatus


class StreamTrackerClock:
    """Times and counts of tracking a stream's frames; one thread records, any thread reads.

    Attributes:
        counts: Counters of the stream; what else a status has is filled in where it is read.
    """

    def __init__(self) -> None:
        self.counts = TrackingStatus()
        self._stages = {stage: LatencyWindow() for stage in ("decode", "queue", "encode", "track")}
        self._rate = RateWindow()

    def record(self, tracked: Tracked) -> None:
        """Take in a tracked frame."""
        times = tracked.result.times
        self.counts.tracked += 1
        self._rate.tick(tracked.tracked_s)
        self._stages["decode"].add(tracked.live.decode_s)
        self._stages["queue"].add(tracked.queue_s)
        self._stages["encode"].add(times.encode_s)
        self._stages["track"].add(times.track_s)

    @property
    def fps(self) -> float:
        """Frames tracked per second, lately."""
        return self._rate.per_s(time.monotonic())

    def stages(self) -> dict[str, Latency]:
        """Latencies by stage."""
        return {stage: window.summary() for stage, window in self._stages.items()}
