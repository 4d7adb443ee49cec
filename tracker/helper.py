"""A second thread that computes, beside the one that it helps."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch


class HelperThread:
    """Does one work after the other, in a thread that is started for the first of them.

    The thread belongs to one other, its only caller, and computes with half of its threads.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "helper")
        self._threads = 0
        self._newest: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """True if it is at work, or about to be."""
        return self._newest is not None and not self._newest.done()

    @property
    def divides_threads(self) -> bool:
        """True if torch's threads are divided while both are at work."""
        return torch.get_num_threads() > 1

    @contextmanager
    def sharing_threads(self) -> Iterator[Callable[[], None]]:
        """Within the block the calling thread leaves the helper its share of torch's threads.

        They are shared by halves while both are at work. Whoever calls has all again as soon as the
        helper is done, which it finds out between the parts of its work.

        Yields:
            To be called between the parts of the work: takes as many threads as are free by now.
        """
        own = torch.get_num_threads()

        def rebalance() -> None:
            threads = own - own // 2 if self.busy and own > 1 else own
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)

        rebalance()
        try:
            yield rebalance
        finally:
            if torch.get_num_threads() != own:
                torch.set_num_threads(own)

    def submit(self, work: Callable[[], None]) -> "Future[None]":
        """Let it do some work.

        Raises:
            RuntimeError: There is no thread to be had, or this is closed.
        """
        self._take_half(torch.get_num_threads())
        self._newest = self._executor.submit(work)
        return self._newest

    def close(self) -> None:
        """End the thread after the work that it does."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _take_half(self, own: int) -> None:
        threads = max(1, own // 2)
        if threads != self._threads:
            self._executor.submit(torch.set_num_threads, threads).result()
            torch.set_num_threads(own)  # what was set last is taken for threads to come
            self._threads = threads


def helper_thread() -> HelperThread | None:
    """A helper where torch computes with several threads; None where it was given one alone."""
    return HelperThread() if torch.get_num_threads() > 1 else None
