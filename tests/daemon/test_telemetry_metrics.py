"""What a scrape shows of the daemon's status, and the dashboard that draws it."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from tracker.daemon.telemetry.histogram import BOUNDS_S, LatencyHistogram
from tracker.daemon.telemetry.latency import Latency
from tracker.daemon.telemetry.metrics import build_registry
from tracker.daemon.telemetry.status import (
    ControlStatus,
    DaemonStatus,
    DataStatus,
    PublishingStatus,
    SourceStatus,
    StreamStatus,
    TrackingStatus,
)
from tracker.protocol.fields import BudgetInfo
from tracker.protocol.replies import ErrorCode, ObjectInfo, StreamState
from tracker.types import ObjectState

_DASHBOARD = Path(__file__).parents[2] / "configs" / "grafana.json"


def busy_status() -> DaemonStatus:
    """Every field has a value of its own."""
    yard = SourceStatus("lavfi:testsrc2", state=StreamState.RETRYING)
    return DaemonStatus(
        healthy=True,
        ready=True,
        uptime_s=3600.0,
        version="1.2.3",
        model="pico",
        device="cpu",
        streams=(busy_stream(), StreamStatus("yard", "rle", yard, TrackingStatus())),
        data=busy_data(),
        control=busy_control(),
        abandoned_threads=26,
    )


def busy_stream() -> StreamStatus:
    source = SourceStatus(
        "rtsp://***@cam/x",
        state=StreamState.RUNNING,
        frames=1000,
        dropped=100,
        reconnects=3,
        corrupt_packets=7,
        abandoned_threads=1,
        frames_waiting=2,
        silent_s=0.25,
    )
    objects = [ObjectState.VISIBLE] * 5 + [ObjectState.LOST] * 6
    tracking = TrackingStatus(
        fps=24.5,
        tracked=900,
        failed=3,
        commands_waiting=4,
        objects=tuple(
            ObjectInfo(id=number, label=None, state=state, score=0.5, box=None)
            for number, state in enumerate(objects, start=1)
        ),
        bank_bytes=123456,
        budget=BudgetInfo(quality_level=4, input_size=192, memories=2, objects_per_frame=None),
        stages={"encode": Latency(0.01, 0.02, 0.03, 900, 9.5)},
    )
    total = LatencyHistogram()
    for seconds in (0.001, 0.035, 0.04, 60.0):
        total.record(seconds)
    publishing = PublishingStatus(Latency(0.001, 0.002, 0.003, 890, 0.9), total.read())
    return StreamStatus("cam1", "rle", source, tracking, publishing)


def busy_data() -> DataStatus:
    return DataStatus(
        waiting=8,
        dropped={"frame": 9, "event": 0},
        failed=10,
        sent={"masks": 11, "events": 12, "frames": 13},
        sent_bytes=14,
        subscriptions=15,
        resets=16,
        wire=Latency(0.001, 0.002, 0.003, 11, 0.5),
    )


def busy_control() -> ControlStatus:
    return ControlStatus(
        requests={"ping": 17, "prompt": 18},
        replies={"ok": 30, ErrorCode.BUSY.value: 5},
        unanswerable=19,
        undelivered=25,
        in_progress=20,
        remembered=21,
        remembered_bytes=22,
        clients=23,
        refused_clients=24,
    )


def scrape(status: DaemonStatus) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = generate_latest(build_registry(lambda: status)).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def value():
    samples = scrape(busy_status())

    def value(name: str, **labels: str) -> float | None:
        return samples.get((name, frozenset(labels.items())))

    return value


def test_the_counters_of_a_stream(value):
    assert value("trackd_stream_frames_total", stream="cam1") == 1000
    assert value("trackd_stream_tracked_frames_total", stream="cam1") == 900
    assert value("trackd_stream_dropped_frames_total", stream="cam1") == 100
    assert value("trackd_stream_reconnects_total", stream="cam1") == 3
    assert value("trackd_stream_corrupt_packets_total", stream="cam1") == 7
    assert value("trackd_stream_failed_frames_total", stream="cam1") == 3
    assert value("trackd_stream_abandoned_threads_total", stream="cam1") == 1
    assert value("trackd_stream_frames_total", stream="yard") == 0


def test_the_present_of_a_stream(value):
    assert value("trackd_stream_fps", stream="cam1") == 24.5
    assert value("trackd_stream_silent_seconds", stream="cam1") == 0.25
    assert value("trackd_stream_silent_seconds", stream="yard") is None
    assert value("trackd_stream_bank_bytes", stream="cam1") == 123456
    assert value("trackd_stream_quality_level", stream="cam1") == 4
    assert value("trackd_stream_quality_level", stream="yard") is None
    assert value("trackd_stream_waiting_frames", stream="cam1") == 2
    assert value("trackd_stream_waiting_commands", stream="cam1") == 4
    assert value("trackd_stream_objects", stream="cam1", state="visible") == 5
    assert value("trackd_stream_objects", stream="cam1", state="lost") == 6
    assert value("trackd_stream_objects", stream="cam1", state="occluded") == 0


def test_a_stream_is_in_exactly_one_state(value):
    assert value("trackd_stream_state", stream="yard", state="retrying") == 1
    assert sum(value("trackd_stream_state", stream="yard", state=s) for s in StreamState) == 1


def test_latency_is_a_histogram_of_cumulative_counts(value):
    def bucket(bound: str) -> float | None:
        return value("trackd_stream_latency_seconds_bucket", stream="cam1", le=bound)

    assert [bucket(le) for le in ("0.01", "0.02", "0.035", "0.05", "10.0")] == [1, 1, 2, 3, 3]
    assert bucket("+Inf") == 4
    assert value("trackd_stream_latency_seconds_count", stream="cam1") == 4
    assert value("trackd_stream_latency_seconds_sum", stream="cam1") == pytest.approx(60.076)
    assert value("trackd_stream_latency_seconds_count", stream="yard") is None


def test_a_histogram_keeps_its_size():
    histogram = LatencyHistogram()
    for n in range(1000):
        histogram.record(n / 50)
    counts = histogram.read()
    assert len(counts.counts) == len(BOUNDS_S) + 1
    assert sum(counts.counts) == 1000


def test_stages_have_quantiles(value):
    stage = {"stream": "cam1", "stage": "encode"}
    assert value("trackd_stream_stage_seconds", **stage, quantile="0.5") == 0.01
    assert value("trackd_stream_stage_seconds", **stage, quantile="0.99") == 0.03
    assert value("trackd_stream_stage_seconds_count", **stage) == 900
    assert value("trackd_stream_stage_seconds_sum", **stage) == 9.5
    wire = {"stream": "cam1", "stage": "wire"}
    assert value("trackd_stream_stage_seconds", **wire, quantile="0.95") == 0.002
    assert value("trackd_wire_seconds", quantile="0.95") == 0.002
    assert value("trackd_wire_seconds_count") == 11


def test_the_data_sockets(value):
    assert value("trackd_sent_messages_total", kind="masks") == 11
    assert value("trackd_sent_bytes_total") == 14
    assert value("trackd_outbox_dropped_total", kind="frame") == 9
    assert value("trackd_outbox_waiting") == 8
    assert value("trackd_encoding_failures_total") == 10
    assert value("trackd_subscriptions") == 15
    assert value("trackd_socket_resets_total") == 16


def test_the_control_socket(value):
    assert value("trackd_requests_total", op="prompt") == 18
    assert value("trackd_replies_total", code="ok") == 30
    assert value("trackd_replies_total", code="busy") == 5
    assert value("trackd_unanswerable_messages_total") == 19
    assert value("trackd_undelivered_replies_total") == 25
    assert value("trackd_requests_in_progress") == 20
    assert value("trackd_remembered_replies") == 21
    assert value("trackd_remembered_reply_bytes") == 22
    assert value("trackd_clients") == 23
    assert value("trackd_refused_clients_total") == 24


def test_the_daemon_itself(value):
    assert value("trackd_build_info", version="1.2.3", model="pico", device="cpu") == 1
    assert value("trackd_uptime_seconds") == 3600
    assert value("trackd_ready") == 1
    assert value("trackd_abandoned_threads") == 26
    assert value("trackd_part_healthy", part="tracker") == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the process is read from /proc")
def test_the_process(value):
    assert value("process_resident_memory_bytes") > 1e6
    assert value("process_cpu_seconds_total") > 0


def test_each_scrape_reads_the_status_anew():
    statuses = iter([3.0, 4.0])
    registry = build_registry(
        lambda: DaemonStatus(False, False, next(statuses), "1", "pico", "cpu"),
    )
    assert b"trackd_uptime_seconds 3.0" in generate_latest(registry)
    assert b"trackd_uptime_seconds 4.0" in generate_latest(registry)


def test_openmetrics_readers_take_it_too():
    text = generate_openmetrics(build_registry(busy_status)).decode()
    names = {family.name for family in parse_openmetrics(text)}
    assert {"trackd_stream_frames", "trackd_stream_latency_seconds"} <= names


def test_the_dashboard_draws_metrics_that_exist():
    names = {name for name, _ in scrape(busy_status())}
    dashboard = json.loads(_DASHBOARD.read_text())
    drawn = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    used = set(re.findall(r"\b(?:trackd|process)_\w+", json.dumps(drawn)))
    assert len(used) > 20
    assert used <= names


def test_the_dashboard_leaves_the_data_source_to_the_viewer():
    dashboard = json.loads(_DASHBOARD.read_text())
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    sources = re.findall(r'"uid": "([^"]+)"', json.dumps(dashboard["panels"]))
    assert set(sources) == {"${datasource}"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
