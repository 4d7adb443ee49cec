"""Keeper of snapshots: the newest of each stream in memory, and in the store for a later head."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from tracker.errors import TrackdError
from tracker.fleet.store import SnapshotStore
from tracker.fleet.transfer import Snapshot

MAX_KEPT_BYTES = 2**30
READ_TIMEOUT_S = 3.0

_LOG = logging.getLogger("trackd.fleet")


@dataclass(slots=True)
class KeeperCounts:
    """Counts of a keeper; they only grow.

    Attributes:
        written: Snapshots that the store took.
        failed: That it did not take.
        skipped: That made room for newer ones before they were written: the store is slow.
        forgotten: That found no room in memory; they are in the store alone.
    """

    written: int = 0
    failed: int = 0
    skipped: int = 0
    forgotten: int = 0


class SnapshotKeeper:
    """Keeps the newest snapshot of each stream; a thread of its own waits for the store.

    Of each stream at most one snapshot waits for the store. Those in memory are `max_bytes`
    together; the one that is oldest makes room. Any thread may use it.

    Args:
        store: Where they go; None for nowhere.
    """

    def __init__(self, store: SnapshotStore | None, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self.counts = KeeperCounts()
        self.problem = ""
        self._store = store
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._newest: OrderedDict[str, Snapshot] = OrderedDict()
        self._jobs: OrderedDict[str, Callable[[SnapshotStore], None]] = OrderedDict()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def keep(self, stream: str, snapshot: Snapshot) -> None:
        """Keep a snapshot in place of older ones; never waits."""
        with self._changed:
            self._newest[stream] = snapshot
            self._newest.move_to_end(stream)
            while sum(len(one.data) for one in self._newest.values()) > self._max_bytes:
                self._newest.popitem(last=False)
                self.counts.forgotten += 1
            if self._store is None:
                return
            if f"write {stream}" in self._jobs:
                self.counts.skipped += 1
            self._jobs[f"write {stream}"] = lambda store: self._write(store, stream, snapshot)
            self._changed.notify()

    def newest(self, stream: str) -> Snapshot | None:
        """The newest snapshot of a stream; waits a few seconds for the store where it must.

        None where there is none, or the store does not answer; then the log has it.
        """
        with self._changed:
            found = self._newest.get(stream)
            if found is not None or self._store is None:
                return found
            answer: Future[Snapshot | None] = Future()
            self._jobs[f"read {stream}"] = lambda store: self._read(store, stream, answer)
            self._jobs.move_to_end(f"read {stream}", last=False)
            self._changed.notify()
        try:
            return answer.result(READ_TIMEOUT_S)
        except TimeoutError:
            self._note(f"the store does not answer; stream {stream} goes on without its objects")
            return None

    def close(self, timeout_s: float) -> bool:
        """Write what waits, and end; False where the store hangs."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if not self._jobs:
                    return
                _, job = self._jobs.popitem(last=False)
            try:
                assert self._store is not None
                job(self._store)
            except TrackdError as err:
                self.counts.failed += 1
                self._note(str(err))
            except Exception:
                self.counts.failed += 1
                _LOG.exception("the store of snapshots failed by an error of the fleet's own")

    def _write(self, store: SnapshotStore, stream: str, snapshot: Snapshot) -> None:
        store.write(stream, snapshot)
        self.counts.written += 1
        self._note("")

    def _read(self, store: SnapshotStore, stream: str, answer: "Future[Snapshot | None]") -> None:
        found = None
        try:
            found = store.newest(stream)
        finally:
            answer.set_result(found)

    def _note(self, problem: str) -> None:
        """Say so when the store begins to fail, and when it works again."""
        before, self.problem = self.problem, problem
        if problem and not before:
            _LOG.warning("snapshots do not leave this machine: %s", problem)
        elif before and not problem:
            _LOG.info("snapshots leave this machine again")
