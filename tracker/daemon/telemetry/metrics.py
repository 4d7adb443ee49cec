"""The daemon's status in Prometheus' words, read anew for each scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

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
from tracker.daemon.telemetry.status import (
    ControlStatus,
    DaemonStatus,
    DataStatus,
    SavingStatus,
    StreamStatus,
)
from tracker.protocol.replies import StreamState
from tracker.types import ObjectState

ReadStatus = Callable[[], DaemonStatus]

_STREAM_COUNTERS: Mapping[str, tuple[str, Callable[[StreamStatus], float]]] = {
    "frames": ("Frames decoded.", lambda s: s.frames),
    "tracked_frames": ("Frames tracked.", lambda s: s.tracked),
    "failed_frames": ("Frames that the tracker failed on; the log tells why.", lambda s: s.failed),
    "dropped_frames": ("Frames dropped because a newer one was there.", lambda s: s.dropped),
    "reconnects": ("Times its source was opened again after a failure.", lambda s: s.reconnects),
    "corrupt_packets": ("Packets that could not be decoded.", lambda s: s.corrupt_packets),
    "abandoned_threads": ("Readers that hung and were left.", lambda s: s.abandoned_threads),
}
_STREAM_GAUGES: Mapping[str, tuple[str, Callable[[StreamStatus], float | None]]] = {
    "fps": ("Frames tracked per second, lately.", lambda s: s.fps),
    "silent_seconds": ("Seconds since the newest frame.", lambda s: s.silent_s),
    "bank_bytes": ("Bytes held by the memories of its objects.", lambda s: s.bank_bytes),
    "waiting_frames": ("Frames that wait for the tracker.", lambda s: s.frames_waiting),
    "effort_rung": (
        "Steps down from full effort, 0, to keep its deadline; absent without one.",
        lambda s: None if s.effort is None else s.effort.rung,
    ),
    "waiting_commands": ("Commands not yet applied.", lambda s: s.commands_waiting),
}


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
        yield from _of_streams(status.streams)
        yield from _of_data(status.data)
        yield from _of_control(status.control)
        yield from _of_saving(status.saving)


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
    healthy.add_metric(["tracker"], status.healthy)
    healthy.add_metric(["data"], status.data.healthy)
    healthy.add_metric(["control"], status.control.healthy)
    text = "Seconds that the part's thread has been at one frame, command, request or message."
    busy = GaugeMetricFamily("trackd_part_busy_seconds", text, labels=["part"])
    busy.add_metric(["tracker"], status.busy_s)
    busy.add_metric(["data"], status.data.busy_s)
    busy.add_metric(["control"], status.control.busy_s)
    yield from (healthy, busy)
    yield CounterMetricFamily(
        "trackd_log_dropped_lines", "Lines of the log that nobody took.", status.log_dropped
    )


def _of_saving(saving: SavingStatus | None) -> Iterator[Metric]:
    """Nothing where nothing is kept."""
    if saving is None:
        return
    text = "1 while a restart would bring back all streams and objects."
    yield GaugeMetricFamily("trackd_state_saved", text, not saving.problem)
    text = "Lists of streams and snapshots of objects that could not be written."
    yield CounterMetricFamily("trackd_state_save_failures", text, saving.failures)
    if saving.age_s is not None:
        text = "Seconds since the list of streams was last written."
        yield GaugeMetricFamily("trackd_state_saved_age_seconds", text, saving.age_s)


def _of_streams(streams: Iterable[StreamStatus]) -> Iterator[Metric]:
    for name, (text, read_count) in _STREAM_COUNTERS.items():
        counter = CounterMetricFamily(f"trackd_stream_{name}", text, labels=["stream"])
        for stream in streams:
            counter.add_metric([stream.stream], read_count(stream))
        yield counter
    for name, (text, read) in _STREAM_GAUGES.items():
        gauge = GaugeMetricFamily(f"trackd_stream_{name}", text, labels=["stream"])
        for stream in streams:
            value = read(stream)
            if value is not None:
                gauge.add_metric([stream.stream], value)
        yield gauge
    yield _states(streams)
    yield _objects(streams)
    yield _stages(streams)
    yield _totals(streams)


def _states(streams: Iterable[StreamStatus]) -> Metric:
    text = "1 for the state that the source is in, 0 for the others."
    gauge = GaugeMetricFamily("trackd_stream_state", text, labels=["stream", "state"])
    for stream in streams:
        for state in StreamState:
            gauge.add_metric([stream.stream, state.value], stream.state is state)
    return gauge


def _objects(streams: Iterable[StreamStatus]) -> Metric:
    text = "Objects tracked, by what was last seen of them."
    gauge = GaugeMetricFamily("trackd_stream_objects", text, labels=["stream", "state"])
    for stream in streams:
        for state in ObjectState:
            gauge.add_metric([stream.stream, state.value], stream.objects.get(state, 0))
    return gauge


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
    yield _counts("trackd_sent_messages", "Messages sent, by kind of topic.", "kind", data.sent)
    yield CounterMetricFamily("trackd_sent_bytes", "Bytes of these, once each.", data.sent_bytes)
    yield _counts(
        "trackd_outbox_dropped", "Dropped unsent to make room for newer.", "kind", data.dropped
    )
    yield GaugeMetricFamily("trackd_outbox_waiting", "Waits to be sent.", data.waiting)
    yield CounterMetricFamily("trackd_encoding_failures", "Could not be encoded.", data.failed)
    yield GaugeMetricFamily("trackd_subscriptions", "Topics subscribed to.", data.subscriptions)
    yield CounterMetricFamily(
        "trackd_socket_resets", "Data sockets opened anew: too many subscriptions.", data.resets
    )
    wire = SummaryMetricFamily(
        "trackd_wire_seconds", "From tracked to encoded; quantiles of the newest thousand."
    )
    _add_latency(wire, {}, data.wire)
    yield wire


def _of_control(control: ControlStatus) -> Iterator[Metric]:
    yield _counts("trackd_requests", "Requests, by operation.", "op", control.requests)
    yield _counts("trackd_replies", "Replies, by error code or ok.", "code", control.replies)
    yield CounterMetricFamily(
        "trackd_unanswerable_messages", "Messages with too long an address.", control.unanswerable
    )
    yield CounterMetricFamily(
        "trackd_undelivered_replies",
        "Replies to clients that were gone or did not read.",
        control.undelivered,
    )
    yield CounterMetricFamily(
        "trackd_refused_clients", "Connections whose key is not allowed.", control.refused_clients
    )
    yield _counts(
        "trackd_refused_connections",
        "Connections refused or closed: key or user not allowed, too many, or unread.",
        "reason",
        control.refused_connections,
    )
    yield GaugeMetricFamily(
        "trackd_unread_bytes", "Bytes that clients sent and nobody read yet.", control.unread_bytes
    )
    text = "Requests to change something, by operation and error code or ok."
    changes = CounterMetricFamily("trackd_changes", text, labels=["op", "outcome"])
    for op, outcomes in control.changes.items():
        for outcome, count in outcomes.items():
            changes.add_metric([op, outcome], count)
    yield changes
    yield GaugeMetricFamily(
        "trackd_requests_in_progress", "Requests that wait for a result.", control.in_progress
    )
    yield GaugeMetricFamily(
        "trackd_remembered_replies", "Replies kept for retried requests.", control.remembered
    )
    yield GaugeMetricFamily(
        "trackd_remembered_reply_bytes", "Bytes of these.", control.remembered_bytes
    )
    yield GaugeMetricFamily("trackd_clients", "Clients that are counted for.", control.clients)


def _counts(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    counter = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        counter.add_metric([str(value)], count)
    return counter
