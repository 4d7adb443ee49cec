"""The state folder while the daemon runs: what is answered, told and fixed when it fails."""

import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.supervised import wait_until
from tracker.daemon.config.schema import StateConfig
from tracker.daemon.messages import RequestError, SaveCommand
from tracker.daemon.state import saver as saver_module
from tracker.daemon.state import state_file
from tracker.daemon.state.saver import Saver
from tracker.daemon.state.state_file import SavedState, read_state
from tracker.daemon.state.store import Store
from tracker.daemon.streams import KeptStream
from tracker.errors import TrackdError
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode, ObjectInfo
from tracker.types import ObjectState

PATIENCE_S = 60.0
CUP = ObjectInfo(id=1, label="cup", state=ObjectState.VISIBLE, score=0.9, box=(1, 2, 3, 4))


class FakeScheduler:
    """Every stream has one object, whose snapshot is `data`."""

    def __init__(self) -> None:
        self.data = b"snapshot"

    def tracking(self, stream: str) -> Any:
        return SimpleNamespace(objects=(CUP,), next_object_id=2)

    def submit(self, stream: str, command: SaveCommand) -> "Future[bytes]":
        future: Future[bytes] = Future()
        future.set_result(self.data)
        return future


class Kept:
    """A saver on a real folder; `streams` is what there is to save."""

    def __init__(self, folder: Path, every_s: float = 3600.0) -> None:
        self.folder = folder
        self.streams: dict[str, KeptStream] = {}
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.store = Store(StateConfig(dir=folder))
        self.scheduler = FakeScheduler()
        streams: Any = SimpleNamespace(
            kept=lambda: dict(self.streams),
            first_seq=lambda: 0,
            reserve=lambda kept, first_seq: None,
            submit=lambda stream, command: self.scheduler.submit(stream, command),
            tracking=self.scheduler.tracking,
        )
        self.saver = Saver(self.store, streams, every_s=every_s, on_change=self.told.put)
        self.saver.start()

    def add(self, stream: str) -> "Future[None]":
        settings = StreamSettings(url="rtsp://admin:hunter2@10.0.0.9/live")
        self.streams[stream] = KeptStream(settings, paused=False, next_seq=1)
        return self.saver.keep()

    def saved(self) -> set[str]:
        state = read_state(self.folder / "streams.json")
        assert isinstance(state, SavedState)
        return set(state.streams)

    def problem(self) -> str:
        return self.saver.status().problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def kept(folder: Path) -> Iterator[Kept]:
    made = Kept(folder)
    yield made
    made.saver.finish(PATIENCE_S)
    made.store.close()


def refusal(future: "Future[None]") -> str:
    error = future.exception(PATIENCE_S)
    assert isinstance(error, RequestError)
    assert error.code is ErrorCode.SNAPSHOT
    assert "hunter2" not in str(error)
    return str(error)


def test_what_is_answered_is_on_the_disk(kept: Kept) -> None:
    for name in ("one", "two", "three"):
        kept.add(name).result(PATIENCE_S)
        assert name in kept.saved()
    del kept.streams["two"]
    kept.saver.keep().result(PATIENCE_S)
    assert kept.saved() == {"one", "three"}
    status = kept.saver.status()
    assert status.healthy
    assert status.problem == ""
    assert status.failures == 0
    assert status.age_s is not None


def test_the_file_and_its_folder_are_synced_before_the_answer(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    kept.add("cam").result(PATIENCE_S)
    assert synced == [str(kept.folder / "streams.json.part"), str(kept.folder)]


def test_a_folder_that_is_deleted_is_made_again_with_its_lock(kept: Kept, folder: Path) -> None:
    kept.add("one").result(PATIENCE_S)
    shutil.rmtree(folder)
    kept.add("two").result(PATIENCE_S)
    assert kept.saved() == {"one", "two"}
    assert folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(TrackdError, match="another daemon uses"):
        Store(StateConfig(dir=folder))
    assert kept.told.empty()


def test_a_lock_that_is_deleted_is_taken_again(kept: Kept, folder: Path) -> None:
    (folder / "lock").unlink()
    kept.add("one").result(PATIENCE_S)
    with pytest.raises(TrackdError, match="another daemon uses"):
        Store(StateConfig(dir=folder))


def test_a_folder_that_is_moved_away_is_followed_and_told(kept: Kept, folder: Path) -> None:
    kept.add("one").result(PATIENCE_S)
    away = folder.rename(folder.with_name("away"))
    assert "was moved away" in refusal(kept.add("two"))
    assert "was moved away" in kept.told.get(timeout=PATIENCE_S)
    assert "was moved away" in kept.problem()
    assert not folder.exists(), "nothing is in the way when it is moved back"
    away.rename(folder)
    assert kept.saved() == {"one", "two"}
    kept.add("three").result(PATIENCE_S)
    assert kept.told.get(timeout=PATIENCE_S) == ""
    assert kept.saved() == {"one", "two", "three"}


def test_the_folder_of_another_daemon_is_not_taken(kept: Kept, folder: Path) -> None:
    folder.rename(folder.with_name("away"))
    other = Store(StateConfig(dir=folder))
    assert "another daemon uses the state folder" in refusal(kept.add("one"))
    assert not (folder / "streams.json").exists()
    other.close()
    kept.add("two").result(PATIENCE_S)
    assert kept.saved() == {"one", "two"}


@pytest.mark.parametrize("error", [28, 30, 5], ids=["full", "read-only", "broken"])
def test_a_disk_that_refuses_is_told_once_and_again_when_it_works(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(state_file, "write_atomically", refuse)
        for name in ("one", "two"):
            assert os.strerror(error) in refusal(kept.add(name))
        assert os.strerror(error) in kept.told.get(timeout=PATIENCE_S)
        assert kept.told.empty()
        assert os.strerror(error) in kept.problem()
        assert kept.saver.status().failures == 2
    kept.add("three").result(PATIENCE_S)
    assert kept.told.get(timeout=PATIENCE_S) == ""
    assert kept.problem() == ""
    assert kept.saved() == {"one", "two", "three"}


def test_a_list_that_failed_is_tried_again_by_itself(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes, *, mode: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saver_module, "RETRY_S", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(state_file, "write_atomically", refuse)
        refusal(kept.add("one"))
    wait_until(lambda: kept.problem() == "", "saved without being asked")
    assert kept.saved() == {"one"}


class Hang:
    """A disk that does not answer before `release`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.writing = threading.Semaphore(0)
        self._write: Callable[..., None] = state_file.write_atomically
        monkeypatch.setattr(state_file, "write_atomically", self.write)

    def write(self, *args: Any, **given: Any) -> None:
        self.writing.release()
        assert self.release.wait(PATIENCE_S)
        self._write(*args, **given)


@pytest.fixture
def hang(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    made = Hang(monkeypatch)
    monkeypatch.setattr(saver_module, "HANG_S", 0.05)
    yield made
    made.release.set()


def test_nobody_waits_for_a_disk_that_hangs(kept: Kept, hang: Hang) -> None:
    first = kept.add("one")
    assert hang.writing.acquire(timeout=PATIENCE_S)
    second = kept.add("two")
    wait_until(lambda: kept.problem() != "", "told to hang")
    kept.saver.check()
    for future in (first, second):
        assert "does not answer" in refusal(future)
    assert "does not answer" in kept.told.get(timeout=PATIENCE_S)
    hang.release.set()
    kept.add("three").result(PATIENCE_S)
    assert kept.told.get(timeout=PATIENCE_S) == ""
    assert kept.saved() == {"one", "two", "three"}


def test_the_end_does_not_wait_for_a_disk_that_hangs(kept: Kept, hang: Hang) -> None:
    kept.add("one")
    assert hang.writing.acquire(timeout=PATIENCE_S)
    assert "does not answer" in kept.saver.finish(0.05)


def test_the_last_save_takes_the_snapshots_too(kept: Kept) -> None:
    kept.add("one").result(PATIENCE_S)
    assert not kept.store.snapshot_path("one").exists()
    assert kept.saver.finish(PATIENCE_S) == ""
    assert kept.store.snapshot_path("one").read_bytes() == b"snapshot"


def test_a_snapshot_that_cannot_be_written_is_told_at_the_end(kept: Kept) -> None:
    kept.add("one").result(PATIENCE_S)
    kept.store.snapshot_path("one").mkdir()
    assert "stream one: cannot write snapshot" in kept.saver.finish(PATIENCE_S)


def test_a_worker_that_ends_in_the_last_save_is_a_loss(kept: Kept) -> None:
    kept.add("one").result(PATIENCE_S)
    ended: Future[bytes] = Future()
    ended.set_exception(RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down"))
    kept.scheduler.submit = lambda stream, command: ended  # type: ignore[method-assign]
    assert "stream one: the daemon is shutting down" in kept.saver.finish(PATIENCE_S)


def test_snapshots_are_taken_every_so_often(folder: Path) -> None:
    kept = Kept(folder, every_s=0.05)
    kept.add("one").result(PATIENCE_S)
    wait_until(kept.store.snapshot_path("one").exists, "a snapshot")
    assert kept.saver.finish(PATIENCE_S) == ""
    kept.store.close()
