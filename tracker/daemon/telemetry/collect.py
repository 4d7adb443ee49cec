"""How all parts of the daemon are, put together for metrics, health and `metrics` requests."""

import time

from tracker.daemon.publish.publisher import Publisher, WireStatus
from tracker.daemon.sources.supervisor import SupervisorStatus
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.status import DataStatus, StreamStatus
from tracker.daemon.tracking.stats import StreamTrackerStatus


def collect_streams(streams: Streams, publisher: Publisher) -> tuple[StreamStatus, ...]:
    """All streams, in the order in which they were added."""
    return tuple(
        _stream_status(stream, source, lane, publisher.wire_status(stream))
        for stream, (source, lane) in streams.statuses().items()
    )


def _stream_status(
    stream: str, source: SupervisorStatus, lane: StreamTrackerStatus, wire: WireStatus | None
) -> StreamStatus:
    stages = {"decode": lane.decode, "queue": lane.queue, "encode": lane.encode}
    stages["track"] = lane.track
    if wire is not None:
        stages["wire"] = wire.wire
    silent_s = None
    if source.last_frame_s is not None:
        silent_s = time.monotonic() - source.last_frame_s
    return StreamStatus(
        stream=stream,
        state=source.state,
        fps=lane.fps,
        frames=source.frames,
        tracked=lane.tracked,
        failed=lane.failed,
        dropped=source.dropped,
        reconnects=source.reconnects,
        corrupt_packets=source.corrupt_packets,
        abandoned_threads=source.abandoned_threads,
        commands_waiting=lane.commands_waiting,
        objects=lane.states,
        bank_bytes=lane.bank_bytes,
        effort=lane.effort,
        silent_s=silent_s,
        stages=stages,
        total=None if wire is None else wire.total,
    )


def collect_data(publisher: Publisher) -> DataStatus:
    """The data sockets."""
    status = publisher.status()
    return DataStatus(
        healthy=status.healthy,
        busy_s=status.busy_s,
        waiting=status.waiting,
        dropped={"frame": status.dropped_frames, "event": status.dropped_events},
        failed=status.failed,
        sent=status.sent,
        sent_bytes=status.sent_bytes,
        subscriptions=status.subscriptions,
        resets=status.resets,
        wire=status.wire,
    )
