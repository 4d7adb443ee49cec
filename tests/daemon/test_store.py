"""What is kept over restarts: after a kill tracking goes on, or says honestly that it lost."""

import json
import os
import queue
import signal
import subprocess
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.kept_streams import DEADLINE_S, KEPT, keep, save_two_objects, tracking
from tests.support.live_scene import masks
from tests.support.small_pico import small_pico
from tests.support.warm_python import python
from tracker.daemon.messages import RemoveCommand, RequestError
from tracker.daemon.state.moment import Moment
from tracker.daemon.state.store import StreamSnapshots
from tracker.daemon.tracking.frame_numbers import RESERVED
from tracker.errors import TrackdError
from tracker.protocol.data import EventName
from tracker.protocol.fields import SavedObject
from tracker.protocol.replies import ErrorCode, ObjectsResult
from tracker.types import ObjectState

DONE: "Future[None]" = Future()
DONE.set_result(None)
UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from tests.support.kept_streams import DEADLINE_S, KEPT, Tracker, keep
tracker = Tracker("cam")
tracker.track("cam", 10)
tracker.prompt("cam", 10, label="cup")
for seq in (11, 12):
    tracker.track("cam", seq)
store = keep(Path(sys.argv[1]))
assert store.save({"cam": KEPT}, tracker, timeout_s=DEADLINE_S) == {}
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "trackd"


class TestRestart:
    @pytest.mark.slow
    def test_after_a_kill_another_process_goes_on_with_the_same_masks(self, folder: Path) -> None:
        run = subprocess.run(
            [*python(), "-c", UNTIL_KILLED, str(folder)],
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
