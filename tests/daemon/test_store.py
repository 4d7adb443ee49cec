"""What is kept over restarts: after a kill tracking goes on, or says honestly that it lost."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from streams.mailbox import Mailbox
from tests.support.live_scene import drawn, live, masks
from tests.support.small_pico import small_pico
from tracker.atomic import write_atomically
from tracker.daemon.config.schema import StateConfig
from tracker.daemon.messages import (
    Command,
    LiveFrame,
    RemoveCommand,
    RequestError,
    RestoreCommand,
    Tracked,
)
from tracker.daemon.state import snapshot_writer
from tracker.daemon.state import store as store_module
from tracker.daemon.state.moment import Moment
from tracker.daemon.state.state_file import SavedObject, SavedState
from tracker.daemon.state.store import Store, StreamSnapshots
from tracker.daemon.streams import KeptStream
from tracker.daemon.telemetry.status import TrackingStatus
from tracker.daemon.tracking.frame_numbers import RESERVED
from tracker.daemon.tracking.scheduler import CommandResult, Scheduler
from tracker.daemon.tracking.slot import Slot
from tracker.engine import Policy
from tracker.errors import StateError, TrackdError, UsageError
from tracker.models import Model
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, ObjectsResult, PromptResult
from tracker.types import ObjectState

DEADLINE_S = 60.0
URL = "rtsp://admin:hunter2@10.0.0.9/live"
KEPT = KeptStream(StreamSettings(url=URL), paused=False, next_seq=13)
DONE: "Future[None]" = Future()
DONE.set_result(None)
UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from tests.daemon.test_store import DEADLINE_S, KEPT, Tracker, keep
tracker = Tracker("cam")
tracker.track("cam", 10)
tracker.prompt("cam", 10, label="cup")
for seq in (11, 12):
    tracker.track("cam", seq)
store = keep(Path(sys.argv[1]))
assert store.save({"cam": KEPT}, tracker, timeout_s=DEADLINE_S) == {}
os.kill(os.getpid(), signal.SIGKILL)
"""


def keep(folder: Path, max_age_s: float = 300.0) -> Store:
    return Store(StateConfig(dir=folder, max_age_s=max_age_s))


class Tracker:
    """A running scheduler, and the registry of its streams."""

    def __init__(self, *streams: str, model: Model | None = None) -> None:
        self.tracked: list[Tracked] = []
        self.events: list[tuple[str, EventName, int | None]] = []
        self.mailboxes: dict[str, Mailbox[LiveFrame]] = {}
        self.slots: dict[str, Slot] = {}
        self.scheduler = Scheduler(
            model or small_pico(),
            Policy(history_frames=4, max_objects=8),
            commands_queued=8,
            on_tracked=self.tracked.append,
            on_event=lambda e: self.events.append((e.stream, e.name, e.object_id)),
        )
        for stream in streams:
            self.add(stream)
        self.scheduler.start()

    def add(self, stream: str) -> None:
        mailbox: Mailbox[LiveFrame] = Mailbox(
            capacity=1, drop_stale=True, on_put=self.scheduler.wake
        )
        self.mailboxes[stream] = mailbox
        self.slots[stream] = self.scheduler.add(stream, KEPT.settings, mailbox)

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        return self.scheduler.submit(self._slot(stream), command)

    def tracking(self, stream: str) -> TrackingStatus:
        return self._slot(stream).status()

    def _slot(self, stream: str) -> Slot:
        if stream not in self.slots:
            raise RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}")
        return self.slots[stream]

    def track(self, stream: str, seq: int) -> Tracked:
        count = len(self.tracked)
        self.mailboxes[stream].put(live(seq, stream=stream))
        deadline_s = time.monotonic() + DEADLINE_S
        while len(self.tracked) == count:
            assert time.monotonic() < deadline_s, "the frame was never tracked"
            time.sleep(0.002)
        return self.tracked[-1]

    def prompt(self, stream: str, seq: int, label: str | None = None) -> int:
        result = self.submit(stream, drawn(seq, label=label)).result(DEADLINE_S)
        assert isinstance(result, PromptResult)
        return result.object.id

    def states(self, stream: str) -> Mapping[int, ObjectState]:
        return {obj.id: obj.state for obj in self.tracking(stream).objects}


@contextmanager
def tracking(*streams: str, model: Model | None = None) -> Iterator[Tracker]:
    tracker = Tracker(*streams, model=model)
    try:
        yield tracker
    finally:
        assert tracker.scheduler.stop(DEADLINE_S)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "trackd"


def save_two_objects(folder: Path) -> None:
    """Objects 1, "cup", and 3 of stream cam, on frame 10, as a daemon leaves them behind."""
    store = keep(folder)
    with tracking("cam") as tracker:
        tracker.track("cam", 10)
        for label in ("cup", None, None):
            tracker.prompt("cam", 10, label)
        tracker.submit("cam", RemoveCommand(2)).result(DEADLINE_S)
        assert store.save({"cam": KEPT}, tracker, timeout_s=DEADLINE_S) == {}
    store.close()


class TestRestart:
    @pytest.mark.slow
    def test_after_a_kill_another_process_goes_on_with_the_same_masks(self, folder: Path) -> None:
        run = subprocess.run(
            [sys.executable, "-c", UNTIL_KILLED, str(folder)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == -signal.SIGKILL, run.stderr
        with tracking("cam") as uninterrupted:
            uninterrupted.track("cam", 10)
            uninterrupted.prompt("cam", 10)
            for seq in (11, 12):
                uninterrupted.track("cam", seq)
            expected = [masks(uninterrupted.track("cam", seq)) for seq in (13, 14, 15)]
        store = keep(folder)
        state = store.load()
        assert state is not None
        saved = state.streams["cam"]
        assert (saved.settings, saved.paused, saved.next_seq) == (KEPT.settings, False, 13)
        assert saved.objects == (SavedObject(id=1, label="cup"),)
        with tracking("cam") as tracker:
            restored = store.restore("cam", tracker, Moment.now())
            assert (restored.outcome, restored.objects) == ("tracked", 1)
            ours = [masks(tracker.track("cam", seq)) for seq in (13, 14, 15)]
            assert tracker.events == [("cam", EventName.OBJECT_RESTORED, 1)]
        assert all(mask_hw.any() for (mask_hw,) in expected)
        assert np.array_equal(ours, expected)

    def test_objects_of_an_old_snapshot_are_lost(self, folder: Path) -> None:
        save_two_objects(folder)
        store = keep(folder, max_age_s=60)
        store.load()
        with tracking("cam") as tracker:
            now = Moment.now()
            later = Moment(wall_s=now.wall_s + 100, boot_id=now.boot_id, boot_s=now.boot_s + 100)
            restored = store.restore("cam", tracker, later)
            assert restored.outcome == "lost"
            assert "state.max_age_s is 60" in restored.text
            assert tracker.states("cam") == {1: ObjectState.LOST, 3: ObjectState.LOST}
            assert tracker.tracking("cam").objects[0].label == "cup"
            tracker.track("cam", 10)
            assert tracker.prompt("cam", 10) == 4, "no id is given twice"

    @pytest.mark.parametrize(
        ("jump_s", "passed_s", "rebooted", "outcome"),
        [
            (0.0, 10.0, False, "tracked"),
            (1e9, 10.0, False, "tracked"),  # the time was asked for late
            (-1e9, 10.0, False, "tracked"),
            (-1e9, 100.0, False, "lost"),
            (0.0, 10.0, True, "tracked"),
            (0.0, 100.0, True, "lost"),
            (-1e9, 10.0, True, "tracked"),  # a board without a clock, which is not told it yet
        ],
    )
    def test_a_clock_that_jumps_loses_nothing(
        self, folder: Path, jump_s: float, passed_s: float, rebooted: bool, outcome: str
    ) -> None:
        save_two_objects(folder)
        store = keep(folder, max_age_s=60)
        store.load()
        then = Moment.now()
        now = Moment(
            wall_s=then.wall_s + passed_s + jump_s,
            boot_id="another" if rebooted else then.boot_id,
            boot_s=5.0 if rebooted else then.boot_s + passed_s,
        )
        with tracking("cam") as tracker:
            assert store.restore("cam", tracker, now).outcome == outcome

    def test_a_snapshot_keeps_its_age_over_two_restarts(self, folder: Path) -> None:
        save_two_objects(folder)
        store = keep(folder)
        first = store.load()
        with tracking("cam") as tracker:
            store.restore("cam", tracker, Moment.now())
            store.save_streams({"cam": KEPT}, tracker)
        second = store.load()
        assert first is not None and second is not None
        assert first.streams["cam"].snapshot_at is not None
        assert second.streams["cam"].snapshot_at == first.streams["cam"].snapshot_at

    @pytest.mark.parametrize("trouble", ["missing", "damaged"])
    def test_objects_of_a_useless_snapshot_are_lost(self, folder: Path, trouble: str) -> None:
        save_two_objects(folder)
        store = keep(folder)
        store.load()
        path = store.snapshot_path("cam")
        if trouble == "missing":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:1000])
        with tracking("cam") as tracker:
            restored = store.restore("cam", tracker, Moment.now())
            assert restored.outcome == "lost"
            assert str(path) in restored.text
            assert set(tracker.states("cam")) == {1, 3}

    def test_objects_of_another_model_are_lost(self, folder: Path) -> None:
        save_two_objects(folder)
        store = keep(folder)
        store.load()
        with tracking("cam", model=replace(small_pico(), fingerprint="other")) as tracker:
            restored = store.restore("cam", tracker, Moment.now())
            assert restored.outcome == "lost"
            assert "other weights" in restored.text
            assert set(tracker.states("cam")) == {1, 3}

    def test_a_stream_without_objects_gives_no_id_twice(self, folder: Path) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            tracker.track("cam", 10)
            tracker.prompt("cam", 10)
            tracker.submit("cam", RemoveCommand(1)).result(DEADLINE_S)
            store.save({"cam": KEPT}, tracker, timeout_s=DEADLINE_S)
        store.close()
        store = keep(folder)
        store.load()
        with tracking("cam") as tracker:
            assert store.restore("cam", tracker, Moment.now()).outcome == "none"
            tracker.track("cam", 10)
            assert tracker.prompt("cam", 10) == 2

    def test_a_save_before_all_is_restored_loses_nothing(self, folder: Path) -> None:
        save_two_objects(folder)
        store = keep(folder)
        before = store.load()
        paused = replace(KEPT, paused=True)
        with tracking("cam", "new") as tracker:
            store.save({"cam": paused, "new": KEPT}, tracker, timeout_s=DEADLINE_S)
            store.close()
            store = keep(folder)
            after = store.load()
            assert before is not None and after is not None
            assert after.streams["cam"] == before.streams["cam"].model_copy(update={"paused": True})
            assert store.restore("cam", tracker, Moment.now()).outcome == "tracked"

    def test_what_was_never_saved_is_not_restored(self, folder: Path) -> None:
        store = keep(folder)
        assert store.load() is None
        with tracking("cam") as tracker:
            assert store.restore("cam", tracker, Moment.now()).outcome == "none"
            assert tracker.events == []


class TestNumbers:
    def test_the_list_holds_the_bound_of_what_was_given_out(self, folder: Path) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            store.save({"cam": KEPT}, tracker, first_seq=77, timeout_s=DEADLINE_S)
        store.close()
        state = keep(folder).load()
        assert state is not None
        assert (state.first_seq, state.streams["cam"].next_seq) == (77, 13)

    def test_a_list_of_version_1_is_read_and_its_numbers_begin_later(self, folder: Path) -> None:
        """It had the next number at the time of the last save, and a crash may have followed."""
        save_two_objects(folder)
        path = folder / "streams.json"
        old = json.loads(path.read_text()) | {"version": 1}
        del old["first_seq"]
        path.write_text(json.dumps(old))
        state = keep(folder).load()
        assert state is not None
        saved = state.streams["cam"]
        assert saved.next_seq == state.first_seq == 13 + RESERVED
        assert [(one.id, one.label) for one in saved.objects] == [(1, "cup"), (3, None)]

    def test_a_number_past_all_that_may_be_is_damage(self, folder: Path) -> None:
        save_two_objects(folder)
        path = folder / "streams.json"
        path.write_text(path.read_text().replace('"next_seq": 13', f'"next_seq": {2**63}'))
        with pytest.raises(TrackdError, match="next_seq"):
            keep(folder).load()


class TestSaving:
    def test_only_the_owner_can_read_it(self, folder: Path) -> None:
        save_two_objects(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "streams.json").stat().st_mode & 0o777 == 0o600
        assert {path.name for path in folder.iterdir()} == {
            "streams.json",
            "cam.safetensors",
            "lock",
        }

    def test_a_removed_stream_leaves_nothing_behind(self, folder: Path) -> None:
        save_two_objects(folder)
        store = keep(folder)
        store.load()
        with tracking() as tracker:
            store.save_streams({}, tracker)
        assert not store.snapshot_path("cam").exists()
        assert "hunter2" not in (folder / "streams.json").read_text()

    def test_a_stream_that_goes_while_it_is_saved_is_left_out(self, folder: Path) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            failed = store.save({"cam": KEPT, "gone": KEPT}, tracker, timeout_s=DEADLINE_S)
        assert failed == {"gone": "there is no stream gone"}
        state = store.load()
        assert state is not None
        assert set(state.streams) == {"cam"}

    def test_a_snapshot_that_fails_is_told_and_the_others_are_written(self, folder: Path) -> None:
        store = keep(folder)
        store.snapshot_path("bad").mkdir()
        with tracking("bad", "good") as tracker:
            for stream in ("bad", "good"):
                tracker.track(stream, 10)
                tracker.prompt(stream, 10)
            failed = store.save({"bad": KEPT, "good": KEPT}, tracker, timeout_s=DEADLINE_S)
        assert set(failed) == {"bad"}
        assert "cannot write snapshot" in failed["bad"]
        assert store.snapshot_path("good").is_file()
        state = store.load()
        assert state is not None
        assert set(state.streams) == {"bad", "good"}

    def test_a_list_that_cannot_be_written_keeps_the_one_before(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_two_objects(folder)
        before = (folder / "streams.json").read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        store = keep(folder)
        monkeypatch.setattr(os, "fsync", full)
        with tracking() as tracker, pytest.raises(TrackdError, match="No space left"):
            store.save_streams({}, tracker)
        assert (folder / "streams.json").read_bytes() == before

    def test_a_client_saves_and_restores_a_stream(self, folder: Path) -> None:
        with tracking("cam") as tracker:
            snapshots = StreamSnapshots(keep(folder), tracker, keep_list=lambda: DONE)
            error = snapshots.restore("cam").exception(DEADLINE_S)
            assert isinstance(error, RequestError)
            assert error.code is ErrorCode.SNAPSHOT
            tracker.track("cam", 10)
            tracker.prompt("cam", 10, "cup")
            snapshots.save("cam").result(DEADLINE_S)
            tracker.submit("cam", RemoveCommand(1)).result(DEADLINE_S)
            restored = snapshots.restore("cam").result(DEADLINE_S)
            assert isinstance(restored, ObjectsResult)
            assert [(obj.id, obj.label) for obj in restored.objects] == [(1, "cup")]

    def test_a_client_is_told_that_it_is_saved_when_the_list_of_objects_is_too(
        self, folder: Path
    ) -> None:
        lists: queue.SimpleQueue[Future[None]] = queue.SimpleQueue()

        def ask_for_list() -> "Future[None]":
            listed: Future[None] = Future()
            lists.put(listed)
            return listed

        with tracking("cam") as tracker:
            snapshots = StreamSnapshots(keep(folder), tracker, keep_list=ask_for_list)
            tracker.track("cam", 10)
            first, first_list = snapshots.save("cam"), lists.get(timeout=DEADLINE_S)
            assert not first.done()
            first_list.set_result(None)
            first.result(DEADLINE_S)
            second = snapshots.save("cam")
            lists.get(timeout=DEADLINE_S).set_exception(RequestError(ErrorCode.SNAPSHOT, "no room"))
            with pytest.raises(RequestError, match="no room"):
                second.result(DEADLINE_S)
            with pytest.raises(RequestError, match="no stream"):
                snapshots.save("other").result(DEADLINE_S)
            assert lists.empty()

    def test_a_snapshot_of_nothing_is_not_left_behind(self, folder: Path) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            store.snapshot("cam", tracker).result(DEADLINE_S)
            assert store.snapshot_path("cam").exists()
            store.save_streams({"cam": KEPT}, tracker)
        assert not store.snapshot_path("cam").exists()


class SlowDisk:
    """A disk on which a snapshot is written when `go` is set, and not before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.busy, self.go = threading.Semaphore(0), threading.Event()
        monkeypatch.setattr(snapshot_writer, "write_atomically", self._write)

    def _write(self, path: Path, data: bytes, *, mode: int) -> None:
        self.busy.release()
        assert self.go.wait(DEADLINE_S)
        write_atomically(path, data, mode=mode)

    def wait_until_busy(self) -> None:
        assert self.busy.acquire(timeout=DEADLINE_S)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    slow = SlowDisk(monkeypatch)
    yield slow
    slow.go.set()


class TestSlowDisk:
    def test_it_does_not_stop_the_tracker(self, folder: Path, disk: SlowDisk) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            tracker.track("cam", 10)
            tracker.prompt("cam", 10)
            saved = store.snapshot("cam", tracker)
            disk.wait_until_busy()
            assert masks(tracker.track("cam", 11))[0].any()
            assert tracker.prompt("cam", 11) == 2
            assert not saved.done()
            disk.go.set()
            saved.result(DEADLINE_S)
        assert store.snapshot_path("cam").exists()

    def test_what_is_asked_for_while_it_writes_is_taken_once_and_anew(
        self, folder: Path, disk: SlowDisk
    ) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            tracker.track("cam", 10)
            first = store.snapshot("cam", tracker)
            disk.wait_until_busy()
            later = {store.snapshot("cam", tracker) for _ in range(100)}
            assert len(later) == 1
            tracker.prompt("cam", 10)
            disk.go.set()
            for future in (first, *later):
                future.result(DEADLINE_S)
            tracker.submit("cam", RemoveCommand(1)).result(DEADLINE_S)
            command = RestoreCommand(store.snapshot_path("cam"))
            restored = tracker.submit("cam", command).result(DEADLINE_S)
        assert isinstance(restored, ObjectsResult)
        assert [obj.id for obj in restored.objects] == [1]

    def test_a_save_that_takes_too_long_is_told_and_the_list_is_written(
        self, folder: Path, disk: SlowDisk
    ) -> None:
        store = keep(folder)
        with tracking("cam") as tracker:
            tracker.track("cam", 10)
            tracker.prompt("cam", 10)
            failed = store.save({"cam": KEPT}, tracker, timeout_s=0.01)
        assert "not done within" in failed["cam"]
        state = store.load()
        assert state is not None
        assert len(state.streams["cam"].objects) == 1

    def test_closing_refuses_what_waits_and_keeps_a_hung_folder_from_others(
        self, folder: Path, disk: SlowDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(store_module, "CLOSE_TIMEOUT_S", 0.01)
        store = keep(folder)
        with tracking("cam", "other") as tracker:
            writing = store.snapshot("cam", tracker)
            disk.wait_until_busy()
            waiting = store.snapshot("other", tracker)
            store.close()
            late = store.snapshot("cam", tracker)
            for future in (waiting, late):
                error = future.exception(DEADLINE_S)
                assert isinstance(error, RequestError)
                assert error.code is ErrorCode.SHUTTING_DOWN
            with pytest.raises(TrackdError, match="another daemon"):
                keep(folder)
            disk.go.set()
            writing.result(DEADLINE_S)


class TestFolder:
    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:-9],
            lambda text: "",
            lambda text: text.replace('"version": 2', '"version": 3'),
            lambda text: json.dumps(json.loads(text) | {"unknown": 1}),
        ],
        ids=["cut off", "empty", "of another version", "with more in it"],
    )
    def test_a_list_that_cannot_be_read_is_refused_every_time_and_copied(
        self, folder: Path, damage: Callable[[str], str]
    ) -> None:
        save_two_objects(folder)
        path = folder / "streams.json"
        damaged = damage(path.read_text())
        path.write_text(damaged)
        store = keep(folder)
        for _ in range(3):
            with pytest.raises(StateError) as error:
                store.load()
            assert str(path) in error.value.message
            assert "streams.json.broken" in error.value.hint
            assert "hunter2" not in str(error.value)
            assert error.value.exit_code == 78
            assert path.read_text() == damaged, "it stays where it is"
        assert (folder / "streams.json.broken").read_text() == damaged
        assert (folder / "streams.json.broken").stat().st_mode & 0o777 == 0o600
        assert len(list(folder.glob("*.broken*"))) == 1, "the same is copied once"
        assert store.load(ignore_unreadable=True) is None

    def test_no_copy_takes_the_place_of_another_and_their_number_is_bounded(
        self, folder: Path
    ) -> None:
        store = keep(folder)
        damaged = [f"damage {number}" for number in range(20)]
        for text in damaged:
            (folder / "streams.json").write_text(text)
            with pytest.raises(StateError):
                store.load()
        kept = {path.read_text() for path in folder.glob("streams.json.broken*")}
        assert damaged[0] in kept
        assert len(kept) == len(list(folder.glob("streams.json.broken*"))) == 8
        assert kept == set(damaged[:8])

    def test_the_version_of_a_newer_list_is_told(self, folder: Path) -> None:
        save_two_objects(folder)
        path = folder / "streams.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99, "new": []}))
        with pytest.raises(StateError, match="of version 99; this trackd reads up to"):
            keep(folder).load()

    def test_a_newer_snapshot_is_refused_and_stays(self, folder: Path) -> None:
        save_two_objects(folder)
        store = keep(folder)
        path = store.snapshot_path("cam")
        newer = path.read_bytes().replace(b'\\"version\\":8', b'\\"version\\":9')
        path.write_bytes(newer)
        for _ in range(2):
            with pytest.raises(StateError, match="of version 9; this trackd reads up to 8"):
                store.load()
        assert path.read_bytes() == newer
        assert store.load(ignore_unreadable=True) is not None
        with tracking("cam") as tracker:
            assert store.restore("cam", tracker, Moment.now()).outcome == "lost"

    def test_two_daemons_do_not_share_a_folder(self, folder: Path) -> None:
        first = keep(folder)
        with pytest.raises(TrackdError, match="another daemon uses the state folder"):
            keep(folder)
        first.close()
        keep(folder).close()

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(TrackdError, match="cannot use the state folder"):
            keep(tmp_path / "file" / "state")

    def test_a_folder_must_be_named(self) -> None:
        with pytest.raises(UsageError, match="no state folder"):
            Store(StateConfig())

    def test_the_credentials_of_a_state_are_not_in_its_text(self, folder: Path) -> None:
        save_two_objects(folder)
        state = keep(folder).load()
        assert isinstance(state, SavedState)
        assert "hunter2" not in repr(state)
