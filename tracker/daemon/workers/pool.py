"""Pool of the daemon's workers: which one takes a stream, and their common end."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tracker.daemon.messages import RequestError
from tracker.daemon.telemetry.status import WorkerStatus
from tracker.daemon.workers.base import Worker
from tracker.protocol.replies import ErrorCode

T = TypeVar("T")
_LOG = logging.getLogger("trackd.server")


class WorkerPool:
    """The workers of a daemon, one or several; which stream is whose is known to `Streams`.

    Args:
        workers: Those that run.
        most: How many there may be; as many as run where left out.
        start: Starts another, by its index and how many then run.
        threads: Threads that each of so many computes with.
        why: How their number came about, for people.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        *,
        most: int = 0,
        start: Callable[[int, int], Worker] | None = None,
        threads: Callable[[int], int] | None = None,
        why: str = "",
    ) -> None:
        self.why = why
        self._lock = threading.Lock()
        self._workers = {worker.name: worker for worker in workers}
        self._most = most
        self._start = start
        self._threads = threads

    def for_stream(self, counts: Mapping[str, int]) -> Worker:
        """The worker for a new stream: the one with the fewest, the first of these.

        Where all have one, and there may be more workers, another is started; then each computes
        with fewer threads.

        Args:
            counts: Streams by the name of their worker.
        """
        with self._lock:
            best = min(self._workers.values(), key=lambda worker: counts.get(worker.name, 0))
            if not counts.get(best.name, 0):
                return best
            return self._started() or best

    def prepare(self, streams: int) -> None:
        """Start the workers for so many streams, and wait until all are ready.

        Raises:
            TrackdError: One cannot start.
        """
        with self._lock:
            while len(self._workers) < streams and self._started() is not None:
                pass
        for worker in self._all():
            worker.wait_ready()

    def _started(self) -> Worker | None:
        """Another worker, with which the others share the processors; None if there may be none."""
        running = len(self._workers) + 1
        if self._start is None or running > self._most:
            return None
        worker = self._start(running - 1, running)
        self._workers[worker.name] = worker
        if self._threads is not None:
            threads = self._threads(running)
            for other in self._workers.values():
                other.limit_threads(threads)
            _LOG.info("%d workers, threads of each: %d", running, threads)
        return worker

    def named(self, name: str) -> Worker:
        """A worker.

        Raises:
            RequestError: BAD_REQUEST, there is none of that name.
        """
        with self._lock:
            worker, names = self._workers.get(name), ", ".join(self._workers)
        if worker is None:
            raise RequestError(
                ErrorCode.BAD_REQUEST, f"there is no worker {name}", f"there are {names}"
            )
        return worker

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """Status of each."""
        return tuple(worker.status() for worker in self._all())

    def let_go(self) -> None:
        """Number no more frames; does not wait for the sources to close."""
        self._each(lambda worker: worker.let_go())

    def close_sources(self, timeout_s: float) -> bool:
        """Close all sources of all workers; False where some thread hangs."""
        until_s = time.monotonic() + timeout_s
        return all(self._each(lambda worker: worker.close_sources(until_s - time.monotonic())))

    def stop(self, timeout_s: float) -> bool:
        """End all workers; False where one hangs."""
        until_s = time.monotonic() + timeout_s
        return all(self._each(lambda worker: worker.stop(until_s - time.monotonic())))

    def _all(self) -> list[Worker]:
        with self._lock:
            return list(self._workers.values())

    def _each(self, do: Callable[[Worker], T]) -> list[T]:
        """Results of all workers, which are asked at the same time where there are several."""
        workers = self._all()
        if len(workers) == 1:
            return [do(workers[0])]
        with ThreadPoolExecutor(len(workers), thread_name_prefix="workers") as threads:
            return list(threads.map(do, workers))
