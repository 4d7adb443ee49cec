"""Workers in processes of their own: what crashes comes back, and what moves goes on."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.small_pico import small_pico_of
from tools.fuzz.workers import write_clip
from tools.serving import Daemon
from tracker.cli.main import main
from tracker.client import Client, DaemonError, Result
from tracker.protocol.replies import ErrorCode

BOX = (40, 80, 220, 140)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("workers")
    write_clip(folder / "clip.mp4")
    stream = {"url": "clip.mp4", "realtime": True, "loop": True}
    config = {
        "model": small_pico_of(folder),
        "workers": {"count": 2, "hang_timeout_s": 1.0},
        "state": {"dir": "state", "every_s": 0.5},
        "streams": {"a": stream, "b": stream},
    }
    with Daemon(folder, config) as running:
        yield running


def wait_until(found: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.05)


def worker_of(client: Client, stream: str) -> str:
    return next(one.worker or "" for one in client.streams() if one.stream == stream)


def status_of(client: Client, worker: str) -> dict[str, int]:
    return next(dict(one) for one in client.metrics()["workers"] if one["name"] == worker)


def next_with_objects(client: Client, stream: str, after_seq: int = -1) -> Result:
    deadline_s = time.monotonic() + 120
    with client.results(stream) as results:
        while time.monotonic() < deadline_s:
            result = results.receive(10)
            if result is None or result.message.repeated:
                continue
            if result.message.objects and result.message.frame.seq > after_seq:
                return result
    raise AssertionError("no object came")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV])
def test_a_worker_that_fails_is_started_again_with_its_objects(
    daemon: Daemon, number: signal.Signals
) -> None:
    with daemon.client() as client:
        object_id = client.prompt("a", box=BOX, label="square", wait_s=25).object.id
        worker, other = worker_of(client, "a"), worker_of(client, "b")
        assert worker != other, "each stream has a worker of its own"
        before, unhurt = status_of(client, worker), status_of(client, other)
        seen = next_with_objects(client, "a").message.frame
        client.save_snapshot("a")
        os.kill(before["pid"], number)
        wait_until(lambda: status_of(client, worker)["restarts"] > before["restarts"], "its end")
        client.relabel_object("a", object_id, "again")  # waits until the worker is there
        later = next_with_objects(client, "a", after_seq=seen.seq)
        assert object_id in [obj.id for obj in later.message.objects]
        assert later.message.frame.epoch == seen.epoch
        assert {obj.label for obj in client.objects("a")} == {"again"}
        after = status_of(client, worker)
        assert after["pid"] != before["pid"]
        assert status_of(client, other)["pid"] == unhurt["pid"]
        client.remove_object("a", object_id)
    log = daemon.log.read_text()
    assert f"worker {worker}: " in log
    if number != signal.SIGKILL:
        assert "most recent call first" in log, "stacks before the end"


def test_a_moved_stream_goes_on_with_its_objects(daemon: Daemon) -> None:
    with daemon.client() as client:
        object_id = client.prompt("b", box=BOX, label="moved", wait_s=25).object.id
        begun, to = worker_of(client, "b"), worker_of(client, "a")
        moved = client.move_stream("b", to)
        assert [(obj.id, obj.label) for obj in moved.objects] == [(object_id, "moved")]
        assert worker_of(client, "b") == to != begun
        result = next_with_objects(client, "b")
        assert [obj.id for obj in result.message.objects] == [object_id]
        assert len(client.move_stream("b", begun).objects) == 1
        with pytest.raises(DaemonError) as refused:
            client.move_stream("b", "99")
        assert refused.value.code is ErrorCode.BAD_REQUEST
        client.remove_object("b", object_id)


def test_a_restart_of_the_daemon_finds_what_its_workers_tracked(daemon: Daemon) -> None:
    with daemon.client() as client:
        object_id = client.prompt("a", box=BOX, label="kept", wait_s=25).object.id
        seen = next_with_objects(client, "a").message.frame
    assert daemon.stop() == 0
    daemon.start()
    with daemon.client() as client:
        later = next_with_objects(client, "a", after_seq=seen.seq)
        assert [obj.id for obj in later.message.objects] == [object_id]
        assert [obj.label for obj in client.objects("a")] == ["kept"]
        client.remove_object("a", object_id)


def test_previews_are_made_while_somebody_subscribes(daemon: Daemon) -> None:
    with daemon.client() as client, client.frames("a") as pictures:
        picture = pictures.receive(30)
        assert picture is not None
        assert picture.jpeg.startswith(b"\xff\xd8")


def test_what_is_recorded_through_faults_is_computed_again(
    daemon: Daemon, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker's death, a move and the daemon's restart: the same bytes wherever pictures are."""

    def ten_frames(client: Client) -> None:
        seen = next_with_objects(client, "kept").message.frame.seq
        next_with_objects(client, "kept", after_seq=seen + 10)

    with daemon.client() as client:
        record = {"dir": str(tmp_path), "segment_s": 2}
        clip = str(daemon.folder / "clip.mp4")
        client.add_stream("kept", clip, realtime=True, loop=True, record=record)
        client.prompt("kept", box=BOX, wait_s=25)
        ten_frames(client)
        worker = worker_of(client, "kept")
        before = status_of(client, worker)
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: status_of(client, worker)["restarts"] > before["restarts"], "its end")
        ten_frames(client)
        client.move_stream("kept", "1" if worker == "0" else "0")
        ten_frames(client)
    assert daemon.stop() == 0
    daemon.start()
    with daemon.client() as client:
        ten_frames(client)
        client.remove_stream("kept")
    assert daemon.stop() == 0
    main(["replay", str(tmp_path), "--recompute", "--json"])
    (again,) = json.loads(capsys.readouterr().out)
    daemon.start()
    assert again["frames"] == again["same_bytes"] > 30, again
    # A worker that is killed leaves about a second of pictures unwritten, and up to the snapshot
    # after a move its objects are in no file.
    assert again["missing"] < 15 and again["underived"] < 15
    put_back = "objects were put back from outside the recording"
    for reason in again["reasons"]:
        assert reason == put_back or reason.endswith("is not in the video")
