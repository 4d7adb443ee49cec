"""Prometheus exposition of the daemon's status, read again for each scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from tracker.daemon.telemetry.histogram import BOUNDS_S, HistogramCounts
from tracker.daemon.telemetry.latency import Latency
from tracker.daemon.telemetry.metric_fields import MetricSpec, metrics_of
from tracker.daemon.telemetry.status import (
    ControlStatus,
    DaemonStatus,
    DataStatus,
    FindingStatus,
    MessagesRecordingStatus,
    RecordingStatus,
    SavingStatus,
    SinkStatus,
    SourceStatus,
    StreamStatus,
    TrackingStatus,
    WorkerStatus,
)
from tracker.protocol.replies import StreamState
from tracker.types import ObjectState

ReadStatus = Callable[[], DaemonStatus]


def build_registry(read: ReadStatus) -> CollectorRegistry:
    """A registry of its own with all metrics of the daemon and of its process.

    Args:
        read: Called once for each scrape, in the thread of the scrape.
    """
    registry = CollectorRegistry()
    registry.register(_StatusCollector(read))
    ProcessCollector(registry=registry)  # resident memory, CPU seconds, open files
    return registry


class _StatusCollector(Collector):
    """Metrics are labelled by streams, states and other small sets; never by objects or clients."""

    def __init__(self, read: ReadStatus) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        status = self._read()
        yield from _of_process(status)
        yield from _of_workers(status.workers)
        yield from _of_streams(status.streams)
        yield from _of_data(status.data)
        yield from _of_control(status.control)
        yield from _of_saving(status.saving)
        yield from _of_sinks(status.sinks)


def _declared(part: Any, prefix: str) -> Iterator[Metric]:
    """The metrics that the fields of a status declare."""
    for spec, value in metrics_of(part):
        labels = [] if spec.label is None else [spec.label]
        family = _family(spec, prefix, labels)
        if spec.label is not None:
            for key, count in value.items():
                family.add_metric([str(key)], count)
        elif value is not None:
            family.add_metric([], value)
        yield family


def _family(
    spec: MetricSpec, prefix: str, labels: list[str]
) -> CounterMetricFamily | GaugeMetricFamily:
    name = f"{prefix}_{spec.name}"
    if spec.kind == "counter":
        return CounterMetricFamily(name, spec.help, labels=labels)
    return GaugeMetricFamily(name, spec.help, labels=labels)


def _of_process(status: DaemonStatus) -> Iterator[Metric]:
    build = GaugeMetricFamily(
        "trackd_build_info", "What runs here; always 1.", labels=["version", "model", "device"]
    )
    build.add_metric([status.version, status.model, status.device], 1)
    yield build
    yield GaugeMetricFamily("trackd_uptime_seconds", "Since the start.", status.uptime_s)
    yield GaugeMetricFamily("trackd_ready", "1 while prompts and frames are taken.", status.ready)
    text = "1 while the part's thread runs."
    healthy = GaugeMetricFamily("trackd_part_healthy", text, labels=["part"])
    text = "Seconds that the part's thread has been at one frame, command, request or message."
    busy = GaugeMetricFamily("trackd_part_busy_seconds", text, labels=["part"])
    parts: Mapping[str, Any] = {
        "tracker": status,
        "data": status.data,
        "control": status.control,
    }
    for name, part in parts.items():
        healthy.add_metric([name], part.healthy)
        busy.add_metric([name], part.busy_s)
    yield from (healthy, busy)
    yield from _declared(status, "trackd")


def _of_workers(workers: Iterable[WorkerStatus]) -> Iterator[Metric]:
    parts = {worker.name: worker for worker in workers}
    yield from _declared_by(WorkerStatus, parts, "worker")


def _of_sinks(sinks: Iterable[SinkStatus]) -> Iterator[Metric]:
    yield from _declared_by(SinkStatus, {sink.name: sink for sink in sinks}, "sink")


def _of_saving(saving: SavingStatus | None) -> Iterator[Metric]:
    """Nothing where nothing is kept."""
    if saving is None:
        return
    text = "1 while a restart would bring back all streams and objects."
    yield GaugeMetricFamily("trackd_state_saved", text, not saving.problem)
    yield from _declared(saving, "trackd_state")


def _of_streams(streams: Iterable[StreamStatus]) -> Iterator[Metric]:
    yield from _declared_by(SourceStatus, {s.stream: s.source for s in streams}, "stream")
    yield from _declared_by(TrackingStatus, {s.stream: s.tracking for s in streams}, "stream")
    found = {s.stream: s.tracking.finding for s in streams if s.tracking.finding is not None}
    yield from _declared_by(FindingStatus, found, "stream")
    yield from _searches(found)
    videos = {s.stream: s.source.recording for s in streams if s.source.recording is not None}
    yield from _declared_by(RecordingStatus, videos, "stream", "record")
    messages = {s.stream: s.recorded for s in streams if s.recorded is not None}
    yield from _declared_by(MessagesRecordingStatus, messages, "stream", "record")
    yield _recording(streams)
    yield _quality_levels(streams)
    yield _states(streams)
    yield _objects(streams)
    yield from _zones(streams)
    yield _stages(streams)
    yield _totals(streams)


def _recording(streams: Iterable[StreamStatus]) -> Metric:
    text = "1 while packets are recorded, 0 while not; absent where they are not to be."
    gauge = GaugeMetricFamily("trackd_record_on", text, labels=["stream"])
    for stream in streams:
        if stream.source.recording is not None:
            gauge.add_metric([stream.stream], stream.source.recording.state == "on")
    return gauge


def _declared_by(
    kind: type[Any], parts: Mapping[str, Any], label: str, prefix: str = ""
) -> Iterator[Metric]:
    """As `_declared`, with one sample for each stream or worker."""
    prefix = f"trackd_{prefix or label}"
    families = [_family(spec, prefix, [label]) for spec, _ in metrics_of(kind)]
    for name, part in parts.items():
        for family, (_, value) in zip(families, metrics_of(part), strict=True):
            if value is not None:
                family.add_metric([name], value)
    yield from families


def _searches(found: Mapping[str, FindingStatus]) -> Iterator[Metric]:
    text = "Proposals that became no object, by the reason."
    refused = CounterMetricFamily(
        "trackd_stream_refused_proposals", text, labels=["stream", "reason"]
    )
    text = "Seconds that a search takes; quantiles of the newest thousand."
    summary = SummaryMetricFamily("trackd_stream_search_seconds", text, labels=["stream"])
    for stream, finding in found.items():
        for reason, count in finding.refused.items():
            refused.add_metric([stream, reason], count)
        _add_latency(summary, {"stream": stream}, finding.latency)
    yield from (refused, summary)


def _quality_levels(streams: Iterable[StreamStatus]) -> Metric:
    text = "Steps down from full quality, 0, to keep its deadline; absent without one."
    gauge = GaugeMetricFamily("trackd_stream_quality_level", text, labels=["stream"])
    for stream in streams:
        if stream.tracking.budget is not None:
            gauge.add_metric([stream.stream], stream.tracking.budget.quality_level)
    return gauge


def _states(streams: Iterable[StreamStatus]) -> Metric:
    text = "1 for the state that the source is in, 0 for the others."
    gauge = GaugeMetricFamily("trackd_stream_state", text, labels=["stream", "state"])
    for stream in streams:
        for state in StreamState:
            gauge.add_metric([stream.stream, state.value], stream.source.state is state)
    return gauge


def _objects(streams: Iterable[StreamStatus]) -> Metric:
    text = "Objects tracked, by what was last seen of them."
    gauge = GaugeMetricFamily("trackd_stream_objects", text, labels=["stream", "state"])
    for stream in streams:
        for state in ObjectState:
            gauge.add_metric([stream.stream, state.value], stream.objects.get(state, 0))
    return gauge


def _zones(streams: Iterable[StreamStatus]) -> Iterator[Metric]:
    labels = ["stream", "zone"]
    inside = GaugeMetricFamily("trackd_zone_objects", "Objects in a zone.", labels=labels)
    text = "Crossings of a line since it was set."
    crossings = CounterMetricFamily("trackd_line_crossings", text, labels=[*labels, "direction"])
    for stream in streams:
        for zone in stream.tracking.zones:
            names = [stream.stream, zone.zone]
            if zone.count is not None:
                inside.add_metric(names, zone.count)
                continue
            crossings.add_metric([*names, "in"], zone.crossed_in or 0)
            crossings.add_metric([*names, "out"], zone.crossed_out or 0)
    yield from (inside, crossings)


def _stages(streams: Iterable[StreamStatus]) -> Metric:
    name = "trackd_stream_stage_seconds"
    text = "Seconds spent on a frame, by stage; quantiles of the newest thousand."
    summary = SummaryMetricFamily(name, text, labels=["stream", "stage"])
    for stream in streams:
        for stage, latency in stream.stages.items():
            _add_latency(summary, {"stream": stream.stream, "stage": stage}, latency)
    return summary


def _add_latency(summary: SummaryMetricFamily, labels: dict[str, str], latency: Latency) -> None:
    quantiles = {"0.5": latency.p50_s, "0.95": latency.p95_s, "0.99": latency.p99_s}
    for quantile, seconds in quantiles.items():
        summary.add_sample(summary.name, {**labels, "quantile": quantile}, seconds)
    summary.add_metric(list(labels.values()), latency.count, latency.sum_s)


def _totals(streams: Iterable[StreamStatus]) -> Metric:
    text = "Seconds from the arrival of a packet to the message about its frame."
    histogram = HistogramMetricFamily("trackd_stream_latency_seconds", text, labels=["stream"])
    for stream in streams:
        if stream.total is not None:
            histogram.add_metric([stream.stream], _buckets(stream.total), stream.total.sum_s)
    return histogram


def _buckets(total: HistogramCounts) -> list[tuple[str, float]]:
    bounds = [*(str(bound_s) for bound_s in BOUNDS_S), "+Inf"]
    return list(zip(bounds, accumulate(total.counts), strict=True))


def _of_data(data: DataStatus) -> Iterator[Metric]:
    yield from _declared(data, "trackd")
    wire = SummaryMetricFamily(
        "trackd_wire_seconds", "From tracked to encoded; quantiles of the newest thousand."
    )
    _add_latency(wire, {}, data.wire)
    yield wire


def _of_control(control: ControlStatus) -> Iterator[Metric]:
    yield from _declared(control, "trackd")
    text = "Requests to change something, by operation and error code or ok."
    changes = CounterMetricFamily("trackd_changes", text, labels=["op", "outcome"])
    for op, outcomes in control.changes.items():
        for outcome, count in outcomes.items():
            changes.add_metric([op, outcome], count)
    yield changes
