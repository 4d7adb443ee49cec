"""Collects the status of each stream from the parts that work for it."""

from tracker.daemon.messages import RequestError
from tracker.daemon.publish.publisher import Publisher
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.status import StreamStatus, TrackingStatus
from tracker.protocol.replies import FindingInfo, StreamInfo


def collect_streams(streams: Streams, publisher: Publisher) -> tuple[StreamStatus, ...]:
    """All streams, in the order in which they were added."""
    found, sources, workers = [], streams.sources(), streams.workers()
    owner_epochs = streams.owner_epochs()
    for stream, settings in streams.settings().items():
        try:
            source, tracking = sources[stream], streams.tracking(stream)
        except (KeyError, RequestError):  # it came or went just now
            continue
        publishing = publisher.stream_status(stream)
        found.append(
            StreamStatus(
                stream,
                settings.encoding,
                source,
                tracking,
                publishing,
                workers.get(stream),
                streams.recorded(stream),
                owner_epochs.get(stream, 0),
            )
        )
    return tuple(found)


def stream_info(status: StreamStatus) -> StreamInfo:
    """A stream as the reply to `stream.list` has it."""
    fields = status.flat() | {"objects": len(status.tracking.objects)}
    fields["finding"] = _finding_info(status.tracking)
    return StreamInfo.model_validate(fields, extra="ignore")


def _finding_info(tracking: TrackingStatus) -> FindingInfo | None:
    finding = tracking.finding
    if finding is None:
        return None
    return FindingInfo(
        finder=finding.finder,
        error=finding.error,
        searches=finding.searches,
        failures=finding.failures,
        found=tracking.found,
        expired=tracking.expired,
        median_s=finding.latency.p50_s,
    )
