"""Snapshots outside the nodes: what was written whole is found, and a bad store holds up nobody."""

import hashlib
import threading
from pathlib import Path

import pytest

from tests.support.tracked_frames import wait_until
from tracker.errors import OutputError
from tracker.fleet.keeper import SnapshotKeeper
from tracker.fleet.store import SnapshotStore
from tracker.fleet.transfer import Snapshot
from tracker.protocol.fields import SavedObject

CUP = SavedObject(id=7, label="cup", found=True)


def snapshot(data: bytes, at_s: int) -> Snapshot:
    digest = hashlib.sha256(data).hexdigest()
    return Snapshot(data, digest, (CUP,), 9, 3, 1_790_000_000_000_000_000 + at_s * 10**9)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "cam").iterdir())


def test_the_newest_whole_snapshot_is_found_and_older_ones_go(tmp_path: Path) -> None:
    store = SnapshotStore(str(tmp_path), keep=2)
    assert store.newest("cam") is None
    for at_s in range(3):
        store.write("cam", snapshot(b"data %d" % at_s, at_s))
    assert len(files(tmp_path)) == 2 * 2
    assert SnapshotStore(str(tmp_path), keep=2).newest("cam") == snapshot(b"data 2", 2)
    newest = max(path for path in files(tmp_path) if path.suffix == ".safetensors")
    newest.write_bytes(b"data ?")
    assert store.newest("cam") == snapshot(b"data 1", 1), "the newest is damaged"
    newest.with_suffix(".json").unlink()
    assert store.newest("cam") == snapshot(b"data 1", 1), "the newest was not written to its end"
    for path in files(tmp_path):
        path.write_bytes(b"{")
    assert store.newest("cam") is None


def test_an_object_store_serves_as_well() -> None:
    store = SnapshotStore("memory://fleet", keep=1)
    for at_s in range(2):
        store.write("cam", snapshot(b"data %d" % at_s, at_s))
    assert store.newest("cam") == snapshot(b"data 1", 1)


def test_a_store_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SnapshotStore(str(tmp_path / "file"), keep=1)
    with pytest.raises(OutputError, match="did not take the snapshot of stream cam: "):
        store.write("cam", snapshot(b"data", 0))


class SlowStore(SnapshotStore):
    """A store that does nothing until it may; then it is full, or not."""

    def __init__(self, folder: Path) -> None:
        super().__init__(str(folder), keep=3)
        self.may = threading.Event()
        self.full = False

    def write(self, stream: str, snapshot: Snapshot) -> None:
        assert self.may.wait(20)
        if self.full:
            raise OutputError("the store is full")
        super().write(stream, snapshot)


def test_a_slow_store_holds_up_nobody_and_gets_the_newest(tmp_path: Path) -> None:
    store = SlowStore(tmp_path)
    keeper = SnapshotKeeper(store)
    for at_s in range(5):
        keeper.keep("cam", snapshot(b"data %d" % at_s, at_s))
        assert keeper.newest("cam") == snapshot(b"data %d" % at_s, at_s)
    store.may.set()
    assert keeper.close(20)
    counts = keeper.counts
    assert counts.written + counts.skipped == 5
    assert counts.skipped >= 3
    assert SnapshotKeeper(SnapshotStore(str(tmp_path), keep=1)).newest("cam") == snapshot(
        b"data 4", 4
    ), "a later head finds it"


def test_a_full_store_is_said_once_and_when_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="trackd.fleet")
    store = SlowStore(tmp_path)
    store.full = True
    store.may.set()
    keeper = SnapshotKeeper(store)
    for at_s in range(2):
        keeper.keep("cam", snapshot(b"data", at_s))
        wait_until(lambda: keeper.counts.failed + keeper.counts.skipped > at_s)  # noqa: B023
    wait_until(lambda: keeper.problem == "the store is full")
    store.full = False
    keeper.keep("cam", snapshot(b"data", 3))
    assert keeper.close(20)
    assert [record.getMessage() for record in caplog.records] == [
        "snapshots do not leave this machine: the store is full",
        "snapshots leave this machine again",
    ]


def test_memory_is_bounded() -> None:
    keeper = SnapshotKeeper(None, max_bytes=10)
    keeper.keep("a", snapshot(b"123456", 0))
    keeper.keep("b", snapshot(b"1234", 0))
    assert keeper.newest("a") is not None
    keeper.keep("c", snapshot(b"1", 0))
    assert keeper.newest("a") is None
    assert keeper.newest("b") is not None
    assert keeper.counts.forgotten == 1
