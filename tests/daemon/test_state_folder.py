"""The state folder: a slow disk, damaged and newer files, and who may use and read it."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.kept_streams import DEADLINE_S, KEPT, keep, save_two_objects, tracking
from tests.support.live_scene import masks
from tracker.atomic import write_atomically
from tracker.daemon.config.schema import StateConfig
from tracker.daemon.messages import RemoveCommand, RequestError, RestoreCommand
from tracker.daemon.state import snapshot_writer
from tracker.daemon.state import store as store_module
from tracker.daemon.state.moment import Moment
from tracker.daemon.state.state_file import SavedState
from tracker.daemon.state.store import Store
from tracker.errors import StateError, TrackdError, UsageError
from tracker.protocol.replies import ErrorCode, ObjectsResult


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "trackd"


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
