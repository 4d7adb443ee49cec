"""Writes and reads snapshots in a thread of its own, so that only it waits for the disk."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from streams.access.bounded_file import read_at_most
from tracker.atomic import write_atomically
from tracker.daemon.messages import RequestError, SaveCommand
from tracker.daemon.state.moment import Moment
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.tracking.scheduler import Scheduler
from tracker.errors import TrackdError
from tracker.exhausted import exhausted
from tracker.protocol.replies import ErrorCode

TAKE_TIMEOUT_S = 30.0
MAX_SNAPSHOT_BYTES = 4 * 2**30

T = TypeVar("T")

_LOG = logging.getLogger("trackd.state")


class SnapshotWriter:
    """Takes and writes one snapshot at a time, in the order in which they were asked for.

    Of each stream at most one waits: who asks for another meanwhile shares it, since it is not
    taken before its turn. One that is asked for while another is written is taken again.

    Attributes:
        disk: Says how long the disk has taken for the one that is being written or read.
    """

    def __init__(self, path_of: Callable[[str], Path]) -> None:
        """Start the thread.

        Args:
            path_of: Where the snapshot of a stream goes; may raise TrackdError.
        """
        self.disk = Activity()
        self._path_of = path_of
        self._changed = threading.Condition()
        self._waiting: dict[tuple[str, str], tuple[Callable[[], Any], Future[Any]]] = {}
        self._written: dict[str, Moment] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def snapshot(self, stream: str, scheduler: Scheduler) -> "Future[None]":
        """Write a stream's objects; from any thread, never waits.

        Returns:
            Done when they are on the disk. It may be shared, so it cannot be cancelled. Fails with
            `RequestError`: as `Scheduler.submit`, TIMEOUT, SHUTTING_DOWN, or SNAPSHOT where the
            disk refuses. Its callbacks must not wait.
        """
        return self._ask("write", stream, partial(self._take_and_write, stream, scheduler))

    def read(self, stream: str) -> "Future[bytes]":
        """Read a stream's objects; otherwise as `snapshot`."""
        return self._ask("read", stream, partial(self._read, stream))

    def _ask(self, what: str, stream: str, work: Callable[[], T]) -> "Future[T]":
        with self._changed:
            if (what, stream) in self._waiting:
                return self._waiting[what, stream][1]
            future: Future[T] = Future()
            future.set_running_or_notify_cancel()
            if self._closed:
                future.set_exception(_shutting_down())
            else:
                self._waiting[what, stream] = work, future
                self._changed.notify()
            return future

    def take_written(self) -> dict[str, Moment]:
        """When each snapshot that was written since the last call was taken; from any thread."""
        with self._changed:
            written, self._written = self._written, {}
        return written

    def close(self, timeout_s: float) -> bool:
        """Refuse what waits, finish what is being written; False where the disk hangs."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, {}
            self._changed.notify()
        for _, future in waiting.values():
            future.set_exception(_shutting_down())
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                what, stream = next(iter(self._waiting))
                work, future = self._waiting.pop((what, stream))
            try:
                result = work()
            except RequestError as err:
                future.set_exception(err)
            except Exception as err:
                limit = exhausted(err)
                if limit is not None:
                    future.set_exception(
                        RequestError(ErrorCode.SNAPSHOT, limit.message, limit.hint)
                    )
                    continue
                _LOG.exception("stream %s: the snapshot failed", stream)
                text = f"the snapshot of stream {stream} failed by an error of the daemon's own"
                future.set_exception(RequestError(ErrorCode.INTERNAL, text, "its log tells more"))
            else:
                future.set_result(result)

    def _take_and_write(self, stream: str, scheduler: Scheduler) -> None:
        data = wait(scheduler.submit(stream, SaveCommand()), TAKE_TIMEOUT_S)
        assert isinstance(data, bytes)
        taken = Moment.now()
        with self._on_disk("write", stream) as path:
            write_atomically(path, data, mode=0o600)
        with self._changed:
            self._written[stream] = taken

    def _read(self, stream: str) -> bytes:
        with self._on_disk("read", stream) as path:
            return read_at_most(path, MAX_SNAPSHOT_BYTES)

    @contextmanager
    def _on_disk(self, what: str, stream: str) -> Iterator[Path]:
        """Where a snapshot is, for as long as the disk is at work with it."""
        path = None
        self.disk.begin()
        try:
            path = self._path_of(stream)
            yield path
        except TrackdError as err:
            raise RequestError(ErrorCode.SNAPSHOT, err.message, err.hint) from err
        except FileNotFoundError as err:
            raise RequestError(ErrorCode.SNAPSHOT, f"no snapshot {path}", "save one first") from err
        except OSError as err:
            text = f"cannot {what} snapshot {path}: {err.strerror}"
            raise RequestError(ErrorCode.SNAPSHOT, text, "make room, or fix the folder") from err
        finally:
            self.disk.end()


def wait(future: "Future[T]", timeout_s: float) -> T:
    """The result of a future; a command that takes too long is not applied any more.

    Raises:
        Refused: TIMEOUT, or why it was refused.
    """
    try:
        return future.result(max(0.0, timeout_s))
    except TimeoutError as err:
        future.cancel()
        raise RequestError(ErrorCode.TIMEOUT, f"not done within {timeout_s:g} s") from err


def _shutting_down() -> RequestError:
    return RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
