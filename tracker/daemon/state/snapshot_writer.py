"""Thread that writes and reads snapshots, so that only it waits for their disk.

A snapshot goes from the tracker, which makes it, to this thread, which writes it; nobody waits for
either. Then the saver lists it.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from streams.access.bounded_file import read_at_most
from tracker.atomic import write_atomically
from tracker.daemon.messages import RequestError, SaveCommand
from tracker.daemon.state.moment import Moment
from tracker.daemon.streams import Streams
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.tracking.scheduler import CommandResult
from tracker.errors import TrackdError
from tracker.exhausted import exhausted
from tracker.protocol.replies import ErrorCode

MAX_SNAPSHOT_BYTES = 4 * 2**30

_LOG = logging.getLogger("trackd.state")


@dataclass(frozen=True, slots=True)
class _Job:
    """Work at the disk, and the future of its result."""

    stream: str
    work: Callable[[], Any]
    future: "Future[Any]"
    reads: bool = False


class SnapshotWriter:
    """Writes snapshots in a thread of its own, one after the other, as the tracker gives them.

    A snapshot is asked of the tracker when none is on its way, so that no two are in memory. Of
    each stream at most one waits for that: who asks for another meanwhile shares it. One that is
    asked for while another is taken or written is taken again.

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
        self._waiting: dict[str, tuple[Streams, Future[None]]] = {}
        self._on_its_way = False  # one was asked of the tracker and is not written yet
        self._jobs: deque[_Job] = deque()
        self._written: dict[str, Moment] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def snapshot(self, stream: str, registry: Streams) -> "Future[None]":
        """Write a stream's objects; from any thread, never waits.

        Returns:
            Done when they are on the disk. It may be shared, so it cannot be cancelled. Fails with
            `RequestError`: as `Streams.submit`, SHUTTING_DOWN, or SNAPSHOT where the disk
            refuses. Its callbacks must not wait.
        """
        with self._changed:
            if stream in self._waiting:
                return self._waiting[stream][1]
            future: Future[None] = Future()
            future.set_running_or_notify_cancel()
            closed = self._closed
            if not closed:
                self._waiting[stream] = registry, future
        if closed:
            future.set_exception(_shutting_down())
        self._take_next()
        return future

    def read(self, stream: str) -> "Future[bytes]":
        """Read a stream's objects; otherwise as `snapshot`."""
        with self._changed:
            for job in self._jobs:
                if job.reads and job.stream == stream:
                    return job.future
        future: Future[bytes] = Future()
        future.set_running_or_notify_cancel()
        self._put(_Job(stream, partial(self._read, stream), future, reads=True))
        return future

    def _take_next(self) -> None:
        """Ask the tracker for the next snapshot, unless one is on its way."""
        while True:
            with self._changed:
                if self._on_its_way or not self._waiting:
                    return
                stream = next(iter(self._waiting))
                registry, future = self._waiting.pop(stream)
                self._on_its_way = True
            try:
                taken = registry.submit(stream, SaveCommand())
            except RequestError as err:
                self._on_its_way = False
                future.set_exception(err)
            else:
                taken.add_done_callback(partial(self._note_taken, stream, future))
                return

    def _note_taken(
        self, stream: str, future: "Future[None]", taken: "Future[CommandResult]"
    ) -> None:
        """Hand a snapshot to the thread; in the tracker's, so it must not wait."""
        self._put(_Job(stream, partial(self._write, stream, taken, Moment.now()), future))

    def _put(self, job: _Job) -> None:
        with self._changed:
            closed = self._closed
            if not closed:
                self._jobs.append(job)
                self._changed.notify()
        if closed:
            job.future.set_exception(_shutting_down())

    def take_written(self) -> dict[str, Moment]:
        """Times at which the snapshots written since the last call were taken; from any thread."""
        with self._changed:
            written, self._written = self._written, {}
        return written

    def close(self, timeout_s: float) -> bool:
        """Refuse what waits, finish what is being written; False where the disk hangs."""
        with self._changed:
            self._closed = True
            waiting = [future for _, future in self._waiting.values()]
            waiting += [job.future for job in self._jobs]
            self._waiting.clear()
            self._jobs.clear()
            self._changed.notify()
        for future in waiting:
            future.set_exception(_shutting_down())
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closed)
                if self._closed:
                    return
                job = self._jobs.popleft()
            self._do(job)

    def _do(self, job: _Job) -> None:
        try:
            result = job.work()
        except RequestError as err:
            job.future.set_exception(err)
        except Exception as err:
            job.future.set_exception(_own_error(job.stream, err))
        else:
            job.future.set_result(result)

    def _write(self, stream: str, taken: "Future[CommandResult]", at: Moment) -> None:
        try:
            data = taken.result()  # it is done
            assert isinstance(data, bytes)
            with self._on_disk("write", stream) as path:
                write_atomically(path, data, mode=0o600)
            with self._changed:
                self._written[stream] = at
        finally:
            self._on_its_way = False
            self._take_next()

    def _read(self, stream: str) -> bytes:
        with self._on_disk("read", stream) as path:
            return read_at_most(path, MAX_SNAPSHOT_BYTES)

    @contextmanager
    def _on_disk(self, what: str, stream: str) -> Iterator[Path]:
        """Path of a snapshot, for as long as the disk is at work with it."""
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


def _own_error(stream: str, err: Exception) -> RequestError:
    """The reason that a snapshot failed which nobody refused."""
    limit = exhausted(err)
    if limit is not None:
        return RequestError(ErrorCode.SNAPSHOT, limit.message, limit.hint)
    _LOG.error("stream %s: the snapshot failed", stream, exc_info=err)
    text = f"the snapshot of stream {stream} failed by an error of the daemon's own"
    return RequestError(ErrorCode.INTERNAL, text, "its log tells more")


def _shutting_down() -> RequestError:
    return RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
