"""The whole daemon: `trackd serve` in its own process, clients in this one and in others."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from streams.video_writer import VideoWriter
from tests.support.moving_scene import frame, square
from tests.support.small_pico import small_pico_of
from tools.serving import Daemon, free_ports, json_lines, run_trackd
from tracker.client import Client, DaemonError, DaemonUnreachable, Result
from tracker.daemon.tracking.frame_numbers import RESERVED
from tracker.protocol.data import FrameStamp
from tracker.protocol.replies import ErrorCode, StreamState

FRAMES, FPS = 60, 15


def shift_of(index: int) -> int:
    """How far to the right the square is on a frame of the clip."""
    return abs(FRAMES // 2 - index)


def truth(result: Result) -> "np.typing.NDArray[np.bool_]":
    """Where the square really is on the frame of a result."""
    stamp = result.message.frame
    assert stamp.pts is not None and stamp.time_base is not None
    index = round(stamp.pts * Fraction(*stamp.time_base) * FPS) % FRAMES
    return square(shift_of(index))


def overlap(result: Result, object_id: int) -> float:
    """IoU of an object's mask with where the square really is."""
    ours, real = result.mask(object_id), truth(result)
    return float((ours & real).sum() / (ours | real).sum())


def box_of(result: Result) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(truth(result))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A square that moves to the left and back."""
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    height, width = frame().shape[:2]
    with VideoWriter(path, width=width, height=height, fps=Fraction(FPS)) as writer:
        for index in range(FRAMES):
            writer.write(frame(shift_of(index)), index, Fraction(1, FPS))
    return path


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    with Daemon(folder, {"model": small_pico_of(folder)}) as running:
        yield running


@pytest.fixture
def stream(daemon: Daemon, clip: Path) -> Iterator[str]:
    """A stream of its own for every test, gone afterwards."""
    with daemon.client() as client:
        client.add_stream("camera", str(clip), realtime=True, loop=True)
        yield "camera"
        client.remove_stream("camera")


def next_result(client: Client, stream: str, wanted: Callable[[Result], bool]) -> Result:
    """Wait for a result that is `wanted`."""
    deadline_s = time.monotonic() + 60
    with client.results(stream) as results:
        while time.monotonic() < deadline_s:
            result = results.receive(10)
            if result is not None and wanted(result):
                return result
    raise AssertionError("no such result came")


def first_results(client: Client, stream: str, count: int) -> list[Result]:
    with client.results(stream) as results:
        received = [results.receive(10) for _ in range(count)]
    return [result for result in received if result is not None]


def wait_for(found: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.1)


def prompt_square(client: Client, stream: str) -> int:
    """Prompt the square on a frame that was seen, while the stream goes on."""
    seen = next_result(client, stream, lambda result: True)
    prompted = client.prompt(stream, box=box_of(seen), label="square", frame=seen.message.frame.seq)
    assert prompted.frame_seq == seen.message.frame.seq
    return prompted.object.id


def test_a_prompt_on_a_frame_of_the_past_is_followed_from_there(
    daemon: Daemon, stream: str
) -> None:
    with daemon.client() as client:
        object_id = prompt_square(client, stream)
        later = next_result(client, stream, lambda result: bool(result.objects))
        assert overlap(later, object_id) > 0.8
        assert later.objects[0].label == "square"
        timings = later.message.timings
        assert timings.total_ms >= timings.encode_ms + timings.track_ms > 0


def test_the_commands_do_what_the_client_does(daemon: Daemon, stream: str) -> None:
    control = ["--control", daemon.config["control"]["bind"], "--timeout", "60"]
    both = [*control, "--data", daemon.config["data"]["bind"]]
    with daemon.client() as client:
        seen = next_result(client, stream, lambda result: True)
        client.pause_stream(stream)  # a command may take seconds to start, the history is short
    box = ",".join(str(edge) for edge in box_of(seen))
    frame_seq = str(seen.message.frame.seq)
    prompted = run_trackd("prompt", stream, "--box", box, "--frame", frame_seq, *control)
    assert prompted.returncode == 0, prompted.stderr
    resumed = run_trackd("streams", "resume", stream, *control)
    assert resumed.returncode == 0, resumed.stderr
    watched = run_trackd("watch", stream, "--json", "--count", "3", *both)
    assert watched.returncode == 0, watched.stderr
    assert len(json_lines(watched.stdout)) == 3
    listed = run_trackd("streams", "list", "--json", *control)
    assert stream in listed.stdout
    removed = run_trackd("objects", stream, "remove", "1", *control)
    assert removed.returncode == 0, removed.stderr
    unknown = run_trackd("objects", stream, "remove", "1", *control)
    assert unknown.returncode != 0
    assert len(unknown.stderr.splitlines()) == 1


def test_health_and_metrics_tell_of_the_stream(daemon: Daemon, stream: str) -> None:
    with daemon.client() as client:
        next_result(client, stream, lambda result: True)
    assert daemon.http("/healthz")[0] == 200
    status, page = daemon.http("/metrics")
    assert status == 200
    assert f'trackd_stream_tracked_frames_total{{stream="{stream}"}}' in page


def test_a_stream_that_cannot_be_opened_says_why_and_stays(daemon: Daemon) -> None:
    with daemon.client() as client:
        client.add_stream("broken", "rtsp://name:secret@127.0.0.1:1/x")
        wait_for(lambda: bool(client.streams()[0].error), "an error")
        (info,) = client.streams()
        assert info.state in (StreamState.RETRYING, StreamState.CONNECTING)
        assert "connection refused" in info.error
        with pytest.raises(DaemonError) as refused:
            client.prompt("broken", box=(1, 1, 9, 9))
        assert refused.value.code == ErrorCode.NO_FRAME
        client.remove_stream("broken")
        with pytest.raises(DaemonError, match="here is the daemon's own"):
            client.add_stream("own", daemon.config["control"]["bind"])
    assert "secret" not in daemon.log.read_text() + info.url + info.error


def test_after_a_kill_the_objects_go_on(tmp_path: Path, clip: Path) -> None:
    state = {"dir": "state", "every_s": 3600}
    config = {"model": small_pico_of(tmp_path), "state": state}
    with Daemon(tmp_path, config) as daemon:
        with daemon.client() as client:
            client.add_stream("camera", str(clip), realtime=True, loop=True)
            object_id = prompt_square(client, "camera")
            before = client.objects("camera")
            client.save_snapshot("camera")
            daemon.kill()
        daemon.start()
        with daemon.client() as client:
            (info,) = client.objects("camera")
            assert (info.id, info.label) == (object_id, before[0].label)
            first_ten = first_results(client, "camera", 10)
            assert len(first_ten) == 10
            assert all([obj.id for obj in r.message.objects] == [object_id] for r in first_ten)
            # The file begins anew: the square has jumped, and may be found a frame later.
            assert max(overlap(r, object_id) for r in first_ten) > 0.8
            assert first_ten[0].message.frame.seq > 0, "numbers go on"


def first_frame(daemon: Daemon, stream: str) -> FrameStamp:
    with daemon.client() as client:
        return next_result(client, stream, lambda result: True).message.frame


def test_frame_numbers_never_come_twice_under_a_name(tmp_path: Path, clip: Path) -> None:
    """Whether it is removed and added, or the daemon ends well, or is killed."""
    state = {"dir": "state", "every_s": 3600}
    config = {"model": small_pico_of(tmp_path), "state": state}
    with Daemon(tmp_path, config) as daemon:
        with daemon.client() as client:
            client.add_stream("camera", str(clip), realtime=True, loop=True)
            seen = first_frame(daemon, "camera")
            client.remove_stream("camera")
            client.add_stream("camera", str(clip), realtime=True, loop=True)
            again = first_frame(daemon, "camera")
            assert (again.seq > seen.seq, again.epoch) == (True, seen.epoch)
            assert client.describe()["epoch"] == seen.epoch
        assert daemon.stop() == 0
        (kept,) = json.loads((tmp_path / "state" / "streams.json").read_text())["streams"].values()
        daemon.start()
        after = first_frame(daemon, "camera")
        assert again.seq < kept["next_seq"] <= after.seq
        assert after.seq < again.seq + RESERVED, "after a clean end no number is left out"
        newest = next_seen(daemon, "camera", 20)
        daemon.kill()
        daemon.start()
        assert first_frame(daemon, "camera").seq > newest.seq
        daemon.kill()
        daemon.start()
        assert first_frame(daemon, "camera").seq > newest.seq + RESERVED


def next_seen(daemon: Daemon, stream: str, count: int) -> FrameStamp:
    with daemon.client() as client:
        return first_results(client, stream, count)[-1].message.frame


def test_a_frame_of_a_daemon_before_is_not_meant_by_its_number(tmp_path: Path, clip: Path) -> None:
    """Without a state folder the numbers begin again; the epoch tells them apart."""
    streams = {"camera": {"url": str(clip), "realtime": True, "loop": True}}
    with Daemon(tmp_path, {"model": small_pico_of(tmp_path), "streams": streams}) as daemon:
        with daemon.client() as client:
            old = next_result(client, "camera", lambda result: True)
        daemon.kill()
        daemon.start()
        with daemon.client() as client:
            seen = next_result(client, "camera", lambda result: True)
            with pytest.raises(DaemonError, match="started again since") as refused:
                client.prompt("camera", box=(1, 1, 9, 9), frame=old)
            assert refused.value.code == ErrorCode.FRAME_GONE
            prompted = client.prompt("camera", box=box_of(seen), frame=seen)
            assert prompted.frame_seq == seen.message.frame.seq


def test_a_prompt_right_after_its_stream_was_added_waits_for_a_frame(
    daemon: Daemon, clip: Path
) -> None:
    control = ["--control", daemon.config["control"]["bind"], "--timeout", "60"]
    with daemon.client() as client:
        client.add_stream("new", str(clip), realtime=True, loop=True)
        prompted = client.prompt("new", box=(1, 1, 9, 9), wait_s=60)
        assert prompted.created
        client.remove_stream("new")
    added = run_trackd("streams", "add", "new", str(clip), "--realtime", "--loop", *control)
    assert added.returncode == 0, added.stderr
    prompted_too = run_trackd("prompt", "new", "--box", "1,1,9,9", *control)
    assert prompted_too.returncode == 0, prompted_too.stderr
    with daemon.client() as client:
        client.remove_stream("new")
        client.add_stream("new", str(clip.with_name("missing.mp4")))
        with pytest.raises(DaemonError, match="no such file") as refused:
            client.prompt("new", box=(1, 1, 9, 9), wait_s=60)
        assert refused.value.code == ErrorCode.NO_FRAME
        client.remove_stream("new")


def test_objects_of_an_old_snapshot_are_lost_and_can_be_found_again(
    tmp_path: Path, clip: Path
) -> None:
    state = {"dir": "state", "every_s": 60, "max_age_s": 0.001}
    config = {"model": small_pico_of(tmp_path), "state": state}
    with Daemon(tmp_path, config) as daemon:
        with daemon.client() as client:
            client.add_stream("camera", str(clip), realtime=True, loop=True)
            object_id = prompt_square(client, "camera")
        assert daemon.stop() == 0
        daemon.start()
        with daemon.client() as client:
            (info,) = client.objects("camera")
            assert (info.id, info.state, info.label) == (object_id, "lost", "square")
            seen = next_result(client, "camera", lambda result: True)
            client.correct("camera", object_id, box=box_of(seen), frame=seen.message.frame.seq)
            later = next_result(client, "camera", lambda result: bool(result.masks()))
            assert overlap(later, object_id) > 0.8


def test_a_hangup_reads_the_configuration_again(tmp_path: Path, clip: Path) -> None:
    with Daemon(tmp_path, {"model": small_pico_of(tmp_path)}) as daemon:
        daemon.config["streams"] = {"late": {"url": str(clip), "realtime": True, "loop": True}}
        daemon.config["drain_timeout_s"] = 20.0
        daemon.write_config()
        daemon.process.send_signal(signal.SIGHUP)
        with daemon.client() as client:
            wait_for(lambda: bool(client.streams()), "the stream")
            next_result(client, "late", lambda result: True)
            daemon.path.write_text("streams: [")
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "was not read again" in daemon.log.read_text(), "a complaint")
            assert [info.stream for info in client.streams()] == ["late"]
        assert "after a restart: drain_timeout_s" in daemon.log.read_text()
        assert daemon.stop(signal.SIGINT) == 0


def test_a_stream_that_left_the_configuration_does_not_come_back(
    tmp_path: Path, clip: Path
) -> None:
    streams = {"written": {"url": str(clip), "realtime": True}}
    config = {"model": small_pico_of(tmp_path), "state": {"dir": "state"}, "streams": streams}
    with Daemon(tmp_path, config) as daemon:
        with daemon.client() as client:
            client.add_stream("asked", str(clip), realtime=True, loop=True)
            assert {info.stream for info in client.streams()} == {"written", "asked"}
        assert daemon.stop() == 0
        del daemon.config["streams"]
        daemon.start()
        with daemon.client() as client:
            assert [info.stream for info in client.streams()] == ["asked"]


def test_only_the_right_keys_open_the_door(tmp_path: Path) -> None:
    made = [
        run_trackd("keys", "new", name, "--out", str(folder))
        for name, folder in (
            ("server", tmp_path),
            ("alice", tmp_path / "allowed"),
            ("mallory", tmp_path),
        )
    ]
    assert [run.returncode for run in made] == [0, 0, 0], made
    keys = {"server_key": str(tmp_path / "server.key_secret")}
    keys |= {"client_keys": str(tmp_path / "allowed"), "default_role": "admin"}
    with Daemon(tmp_path / "daemon", {"security": keys}) as daemon:
        alice = tmp_path / "allowed" / "alice.key_secret"
        server, other = tmp_path / "server.key", tmp_path / "mallory.key"
        with daemon.client(client_key=alice, server_key=server) as client:
            assert client.ping().ready
            for url in (str(tmp_path / "a.mp4"), "http://127.1/v", "http://169.254.169.254/"):
                with pytest.raises(DaemonError, match="clients may not name") as refused:
                    client.add_stream("ours", url)
                assert refused.value.code == ErrorCode.BAD_SOURCE
        mallory = tmp_path / "mallory.key_secret"
        for wrong in (
            {},
            {"client_key": mallory, "server_key": server},
            {"client_key": alice, "server_key": other},
        ):
            with (
                daemon.client(timeout_s=2.0, **wrong) as client,
                pytest.raises(DaemonUnreachable),
            ):
                client.ping()


def test_all_interfaces_without_keys_are_refused(tmp_path: Path) -> None:
    config = tmp_path / "open.yaml"
    config.write_text(f"control: {{bind: 'tcp://0.0.0.0:{free_ports(1)[0]}'}}")
    run = run_trackd("serve", "--config", str(config))
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert "without keys" in run.stderr


def test_a_port_in_use_is_one_clear_line(daemon: Daemon, tmp_path: Path) -> None:
    run = run_trackd("serve", "--config", str(daemon.path))
    assert run.returncode == 1
    assert "cannot listen on" in run.stderr.splitlines()[-1]
    assert "Traceback" not in run.stderr
