"""What a daemon that runs says of itself: every field is filled, threads that hang are told."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from tests.support.local_streams import local_streams
from tests.support.recordings import reordered_clip
from tests.support.small_pico import small_pico, small_pico_of
from tests.support.supervised import PATIENCE_S, wait_until
from tests.support.tracked_frames import publishing
from tracker.client import Client, DaemonError
from tracker.daemon.config.schema import ConfiguredStream, DaemonConfig
from tracker.daemon.server import Server, ServerSignal
from tracker.daemon.sources.supervisor import Supervisor
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.collect import collect_streams
from tracker.daemon.telemetry.metrics import build_registry
from tracker.daemon.telemetry.status import DaemonStatus
from tracker.daemon.tracking.scheduler import Scheduler
from tracker.engine import Policy
from tracker.protocol.fields import DeadlineSettings, RecordSettings, StreamSettings, ZoneSettings
from tracker.protocol.replies import ErrorCode

PATTERN = "lavfi:testsrc2=size=160x120:rate=25"
LINE = ZoneSettings(line=((0, 60), (160, 60)))
HOOK = {"url": "http://127.0.0.1:1/", "allow_private": True}  # where nobody listens
# By part, as `status` names them: what does not happen to a daemon that is well.
RARE = {
    "reconnects": "a camera that fails after it ran: test_supervisor",
    "corrupt_packets": "a damaged file: test_supervisor",
    "abandoned_threads": "a reader that hangs: below",
    "tracking.failed": "a fault of the tracker: test_scheduler",
    "finding": "a finder: test_finding",
    "found": "a finder: test_found_objects",
    "expired": "a finder: test_found_objects",
    "data.failed": "a fault of the publisher: test_publisher",
    "data.dropped": "a publisher that is behind: test_publisher",
    "data.waiting": "sent at once: test_publisher",
    "data.busy_s": "of a moment: test_health",
    "control.busy_s": "of a moment: test_health",
    "resets": "thousands of subscriptions: test_publisher",
    "unanswerable": "an address of many hops: test_control",
    "undelivered": "a client that does not read: test_control",
    "refused_clients": "keys: test_roles",
    "refused_connections": "strangers: test_authenticator",
    "unread_bytes": "a client that floods: test_backlog",
    "problem": "a disk that is full: test_saver",
    "saving.failures": "a disk that is full: test_saver",
    "recording.error": "a disk that is full: test_record_video",
    "recording.failures": "a disk that is full: test_record_video",
    "recording.removed_segments": "more than is to be kept: test_record_video",
    "recording.dropped_packets": "a disk that is slow: test_record_video",
    "recording.snapshots": "objects where a segment begins: test_record_snapshots",
    "recording.snapshot_bytes": "likewise: test_record_snapshots",
    "recording.left_out_snapshots": "one that is too large: test_record_snapshots",
    "recorded.error": "a disk that is full: test_record_messages",
    "recorded.dropped_messages": "a disk that is slow: test_record_messages",
    "log_dropped": "a log that nobody takes: test_log_writer",
}


@contextmanager
def serving(config: DaemonConfig) -> Iterator[Server]:
    """A whole daemon in this process."""
    server = Server(config, lambda: config, "1.2.3")
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(server.run()))
    thread.start()
    try:
        wait_until(lambda: server.status().ready, "a daemon that is ready")
        yield server
    finally:
        server.wish(ServerSignal.DRAIN)
        thread.join(PATIENCE_S)
    assert codes == [0]


def filled(part: Any, name: str = "daemon") -> set[str]:
    """The fields whose value is not what they begin with, as "part.field"."""
    found = set()
    for one in fields(part):
        value = getattr(part, one.name)
        if is_dataclass(value) and not isinstance(value, type):
            found |= filled(value, one.name)
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            found |= set().union(*(filled(item, one.name) for item in value))
        begun = one.default_factory() if one.default_factory is not MISSING else one.default
        if value != begun and (not isinstance(value, dict) or any(value.values())):
            found.add(f"{name}.{one.name}")
    return found


def declared(kind: type[Any], name: str, parts: dict[str, type[Any]]) -> set[str]:
    """All fields of a status and of its parts, as `filled` names them."""
    found = {f"{name}.{one.name}" for one in fields(kind)}
    for one in fields(kind):
        if one.name in parts:
            found |= declared(parts[one.name], one.name, parts)
    return found


def all_fields() -> set[str]:
    from tracker.daemon.telemetry import status

    parts = {
        "streams": status.StreamStatus,
        "source": status.SourceStatus,
        "recording": status.RecordingStatus,
        "recorded": status.MessagesRecordingStatus,
        "tracking": status.TrackingStatus,
        "publishing": status.PublishingStatus,
        "data": status.DataStatus,
        "control": status.ControlStatus,
        "saving": status.SavingStatus,
    }
    return declared(DaemonStatus, "daemon", parts)


def is_rare(field: str) -> bool:
    return field in RARE or field.partition(".")[2] in RARE


@pytest.mark.slow
def test_every_field_of_the_status_is_filled_by_a_daemon_that_runs(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(16))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        config = DaemonConfig.model_validate(
            {
                "control": {"bind": f"ipc://{tmp_path}/control"},
                "data": {"bind": f"ipc://{tmp_path}/data", "latest_bind": None},
                "http": {"port": 0},
                "model": small_pico_of(tmp_path / "model"),
                "state": {"dir": tmp_path / "state", "every_s": 0.2},
                "notify": {"webhooks": [{**HOOK, "secret_file": tmp_path / "secret"}]},
                "streams": {
                    "all": ConfiguredStream(url=PATTERN, policy="every", zones={"gate": LINE}),
                    "late": ConfiguredStream(
                        url=PATTERN, realtime=True, deadline=DeadlineSettings(fps=2)
                    ),
                    "opening": ConfiguredStream(
                        url=f"http://127.0.0.1:{port}/x.mp4", open_timeout_s=PATIENCE_S
                    ),
                    "off": ConfiguredStream(url="rtsp://127.0.0.1:1/off"),
                    "recorded": ConfiguredStream(
                        url=str(reordered_clip(tmp_path / "clip.mp4")),
                        realtime=True,
                        loop=True,
                        record=RecordSettings(dir=tmp_path / "recorded"),
                    ),
                },
            }
        )
        with serving(config) as server:
            watch(server, tmp_path)


def watch(server: Server, folder: Path) -> None:
    """Use a daemon until each field was filled at some time."""
    missing = {field for field in all_fields() if not is_rare(field)}
    missing -= {"daemon.healthy", "source.healthy", "data.healthy", "control.healthy"}
    missing.discard("saving.healthy")  # they begin well
    endpoints = f"ipc://{folder}/control", f"ipc://{folder}/data"
    with Client(*endpoints, timeout_s=PATIENCE_S) as client, client.results("all") as results:
        client.prompt("all", box=(20, 20, 90, 90), label="square", wait_s=PATIENCE_S)
        client.add_stream("owned", "rtsp://127.0.0.1:1/owned", owner_epoch=1)
        errors: list[DaemonError] = []
        waits = threading.Thread(target=ask_in_vain, args=[endpoints[0], errors])
        waits.start()
        asking_s = time.monotonic()
        while missing:
            late = time.monotonic() > asking_s + PATIENCE_S
            assert not late, f"never filled: {sorted(missing)}"
            assert results.receive(PATIENCE_S) is not None
            missing -= filled(server.status())
        for stream in ("all", "late", "recorded", "opening"):  # the last takes seconds to end
            client.remove_stream(stream)
        waits.join()
        assert [error.code for error in errors] == [ErrorCode.UNKNOWN_STREAM]


def ask_in_vain(control: str, errors: list[DaemonError]) -> None:
    """Wait for the first frame of a source that is never open, until it is removed."""
    with Client(control, timeout_s=PATIENCE_S) as client:
        try:
            client.prompt("opening", box=(1, 1, 9, 9), wait_s=PATIENCE_S)
        except DaemonError as error:
            errors.append(error)


def test_the_fields_that_need_not_be_filled_exist() -> None:
    names = all_fields()
    for field in RARE:
        assert field in names or any(name.endswith(f".{field}") for name in names)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_reader_that_hangs_is_told_after_its_stream_was_removed(tmp_path: Path) -> None:
    """FFmpeg waits in the system, for ever, for a pipe that nobody writes to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    settings = StreamSettings(url=str(pipe), open_timeout_s=0.02, stall_timeout_s=0.02)
    with running(hang_margin_s=3600) as (streams, scrape):
        streams.add("cam1", settings)
        wait_until(lambda: _reads("cam1"), "a reader")
        assert "trackd_abandoned_threads 0.0" in scrape()
        streams.remove("cam1").result(PATIENCE_S)
        text = scrape()
        assert "trackd_abandoned_threads 1.0" in text
        assert 'stream="cam1"' not in text
        os.close(os.open(pipe, os.O_RDWR))  # a writer comes and goes: who waits goes on
        wait_until(lambda: "trackd_abandoned_threads 0.0" in scrape(), "the reader back")


def test_frames_that_wait_for_the_tracker_are_told(tmp_path: Path) -> None:
    with running(tracks=False) as (streams, scrape):
        streams.add("cam1", StreamSettings(url=PATTERN, policy="every"))
        waiting = 'trackd_stream_waiting_frames{stream="cam1"} 4.0'
        wait_until(lambda: waiting in scrape(), "a full mailbox")


def _reads(stream: str) -> bool:
    return any(thread.name == f"read-{stream}" for thread in threading.enumerate())


@contextmanager
def running(
    *, tracks: bool = True, hang_margin_s: float = 5.0
) -> Iterator[tuple[Streams, Callable[[], str]]]:
    """Streams with a real scheduler and publisher, and what a scrape of them shows."""

    def supervise(*args: Any, **given: Any) -> Supervisor:
        return Supervisor(*args, **given, hang_margin_s=hang_margin_s)

    with publishing() as publisher:
        scheduler = Scheduler(
            small_pico(),
            Policy(),
            commands_queued=4,
            on_tracked=publisher.tracked,
            on_event=publisher.event,
        )
        if tracks:
            scheduler.start()
        streams, worker = local_streams(
            scheduler,
            publisher,
            supervise=supervise,
            close_timeout_s=0.05,
        )
        read = partial(collect_streams, streams, publisher)

        def status() -> DaemonStatus:
            hanging = worker.status().abandoned_threads
            name = ("1.2.3", "pico", "cpu")
            return DaemonStatus(True, True, 1.0, *name, read(), abandoned_threads=hanging)

        registry = build_registry(status)
        try:
            yield streams, lambda: generate_latest(registry).decode()
        finally:
            assert streams.close_all(PATIENCE_S)
            assert scheduler.stop(PATIENCE_S)
