"""Saver thread, which keeps the state folder up to date and alone waits for the list's disk."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future
from functools import partial

from tracker.daemon.messages import RequestError
from tracker.daemon.state.store import Store
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.telemetry.status import SavingStatus
from tracker.errors import TrackdError
from tracker.protocol.replies import ErrorCode

HANG_S = 5.0
RETRY_S = 5.0

_SNAPSHOTS_SHARE = 0.7  # of the time for the last save; the rest is for the list
_LOG = logging.getLogger("trackd.state")
_HANGS = "the disk of the state folder does not answer"


class Saver:
    """Writes the list of streams when it changed, and all objects every so often.

    Args:
        store: Where to.
        streams: What is kept.
        every_s: Seconds between snapshots.
        on_change: Called with the problem when saving begins to fail, and with "" when it works
            again; must not wait.
    """

    def __init__(
        self,
        store: Store,
        streams: Streams,
        *,
        every_s: float,
        on_change: Callable[[str], object],
    ) -> None:
        self._store = store
        self._streams = streams
        self._every_s = every_s
        self._on_change = on_change
        self._thread = threading.Thread(target=self._run, name="saver", daemon=True)
        self._emitting = threading.Lock()  # taken before the other one
        self._changed = threading.Condition()  # guards what follows
        self._asked: list[Future[None]] = []
        self._answering: list[Future[None]] = []  # those that the write in progress is for
        self._writing = Activity()
        self._problem = ""  # of the list
        self._lost: dict[str, str] = {}  # why streams have no snapshot of late
        self._emitted = ""
        self._saved_s: float | None = None
        self._failures = 0
        self._finish_by_s: float | None = None
        self._outcome: Future[str] = Future()

    def start(self) -> None:
        """Begin; what was asked for before is done first."""
        self._next_s = time.monotonic() + self._every_s
        self._thread.start()

    def keep(self) -> "Future[None]":
        """Ask for the list of streams to be written as it is now; from any thread, never waits.

        Returns:
            Done when it is on the disk; fails with `RequestError` where it cannot be written, or
            not within `HANG_S`. It cannot be cancelled.
        """
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()
        with self._changed:
            self._asked.append(future)
            self._changed.notify()
        return future

    def check(self) -> None:
        """Give up waiting for a disk that hangs, and report it; call it every second or so."""
        given_up: list[Future[None]] = []
        with self._changed:
            if self._writing.busy_s > HANG_S:
                given_up, self._asked, self._answering = self._asked + self._answering, [], []
        _resolve(given_up, _HANGS)
        self._emit_change()

    def status(self) -> SavingStatus:
        """Current status; from any thread."""
        with self._changed:
            saved_s = self._saved_s
            return SavingStatus(
                healthy=self._thread.is_alive(),
                problem=self._what_is_wrong(),
                age_s=None if saved_s is None else time.monotonic() - saved_s,
                failures=self._failures,
            )

    def finish(self, timeout_s: float) -> str:
        """Save everything one last time, and end; returns why not all was saved, or ""."""
        with self._changed:
            self._finish_by_s = time.monotonic() + timeout_s
            self._changed.notify()
        try:
            return self._outcome.result(timeout_s)
        except TimeoutError:
            return _HANGS

    def _run(self) -> None:
        while not self._outcome.done():
            with self._changed:
                self._changed.wait_for(self._has_work, max(0.0, self._next_s - time.monotonic()))
                finish_by_s = self._finish_by_s
                self._answering, self._asked = self._asked, []
                self._writing.begin()
            try:
                outcome = self._save(finish_by_s)
            except Exception as err:
                _LOG.exception("saving failed by an error of the daemon's own")
                outcome = self._wrote(f"{type(err).__name__} in the daemon")
            if finish_by_s is not None:
                self._outcome.set_result(outcome)

    def _has_work(self) -> bool:
        return bool(self._asked) or self._finish_by_s is not None

    def _save(self, finish_by_s: float | None) -> str:
        """Write what is due, answer who asked, and return why not all was saved."""
        now_s = time.monotonic()
        if finish_by_s is not None:
            self._take_snapshots(_SNAPSHOTS_SHARE * (finish_by_s - now_s))
        elif now_s >= self._next_s:
            self._take_snapshots(0.0)
            self._next_s = now_s + self._every_s
        return self._wrote(self.save_list())

    def save_list(self) -> str:
        """Write the list of streams, and so reserve frame numbers; returns why not, or "".

        Called by its own thread, or before that is started.
        """
        kept, first_seq = self._streams.kept(), self._streams.first_seq()
        try:
            self._store.save_streams(kept, self._streams, first_seq=first_seq)
        except TrackdError as err:
            _LOG.debug("the list of streams was not saved: %s", err)
            return str(err)
        self._streams.reserve(kept, first_seq)
        return ""

    def _take_snapshots(self, timeout_s: float) -> None:
        """Ask for the snapshots of all streams, and wait for them so long."""
        asked = self._store.snapshots(self._streams.kept(), self._streams)
        with self._changed:
            self._lost = {stream: why for stream, why in self._lost.items() if stream in asked}
        for stream, future in asked.items():
            future.add_done_callback(partial(self._note_snapshot, stream))
        if timeout_s > 0:
            _, late = futures.wait(asked.values(), timeout_s)
            with self._changed:
                self._lost |= {one: "not saved in time" for one in asked if asked[one] in late}

    def _note_snapshot(self, stream: str, snapshot: "Future[None]") -> None:
        """Take note of what became of a snapshot; in the thread that wrote it."""
        err = snapshot.exception()
        with self._changed:
            if err is None or self._is_no_loss(err):
                self._lost.pop(stream, None)
            else:
                self._failures += 1
                self._lost[stream] = str(err)
        self._emit_change()

    def _is_no_loss(self, err: BaseException) -> bool:
        """True where there was nothing to save: the stream is gone, or the last save is over."""
        if not isinstance(err, RequestError):
            return False
        over = err.code is ErrorCode.SHUTTING_DOWN and self._outcome.done()
        return over or err.code is ErrorCode.UNKNOWN_STREAM

    def _wrote(self, problem: str) -> str:
        """Take note of what became of the list."""
        with self._changed:
            self._problem = problem
            if problem:
                self._failures += 1
                self._next_s = min(self._next_s, time.monotonic() + RETRY_S)
            else:
                self._saved_s = time.monotonic()
            self._writing.end()
            answered, self._answering = self._answering, []
            left = self._what_is_wrong()
        _resolve(answered, problem)
        self._emit_change()
        return left

    def _what_is_wrong(self) -> str:
        if max(self._writing.busy_s, self._store.snapshot_s) > HANG_S:
            return _HANGS
        return self._problem or next((f"stream {s}: {why}" for s, why in self._lost.items()), "")

    def _emit_change(self) -> None:
        """Say so when saving begins to fail, and when it works again."""
        with self._emitting:
            with self._changed:
                problem, before = self._what_is_wrong(), self._emitted
                self._emitted = problem
            if bool(problem) == bool(before):
                return
            if problem:
                _LOG.error("the state is not being saved: %s", problem)
            else:
                _LOG.info("the state is being saved again")
            self._on_change(problem)


def _resolve(asked: "list[Future[None]]", problem: str) -> None:
    for future in asked:
        if problem:
            future.set_exception(RequestError(ErrorCode.SNAPSHOT, problem))
        else:
            future.set_result(None)
