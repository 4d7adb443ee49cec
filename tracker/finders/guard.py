"""Guard of a finder: what it raises, how long it takes and what it returns cannot stop tracking."""

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracker.errors import FinderError
from tracker.finders.base import Finder, NamesLabels, Proposal
from tracker.finders.checked import Checked, check_proposals

DEFAULT_TIMEOUT_S = 120.0
MAX_FAILURES = 3


@dataclass(slots=True)
class FinderStats:
    """Counters of a guarded finder.

    Attributes:
        calls: Pictures that it was given.
        failures: Of these, those on which it raised, or took too long.
        invalid: Proposals left out as nonsense.
        surplus: Proposals left out as too many.
        busy_s: Seconds spent in it, by the monotonic clock.
    """

    calls: int = 0
    failures: int = 0
    invalid: int = 0
    surplus: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Request:
    image_hwc: NDArray[np.uint8]
    phrases: Sequence[str]


class GuardedFinder:
    """A finder in a thread of its own, with a time limit, checks of its answers and counters.

    A call that hangs cannot be ended: after it, and after `MAX_FAILURES` failures in a row, the
    finder is not asked again. Its thread does not keep the process alive.

    Attributes:
        name: As the registry calls it.
        labels: Those that it may give where it is asked for nothing, as far as it says so.
        stats: Counters.
        gave_up: Why it is not asked again; None while it is.
    """

    def __init__(self, finder: Finder, name: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        """Guard `finder`, which may take `timeout_s` for a picture."""
        self.name = name
        self.stats = FinderStats()
        self.gave_up: str | None = None
        self.labels = tuple(finder.labels) if isinstance(finder, NamesLabels) else ()
        self._finder = finder
        self._timeout_s = timeout_s
        self._failures_in_a_row = 0
        self._requests: queue.Queue[_Request | None] = queue.Queue(maxsize=1)
        self._answers: queue.Queue[object] = queue.Queue(maxsize=1)
        self._thread: threading.Thread | None = None

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> tuple[Proposal, ...]:
        """Checked proposals, best first; none once it was given up.

        Raises:
            FinderError: It raised, took too long, or returned no proposals at all.
        """
        if self.gave_up is not None:
            return ()
        begun_s = time.monotonic()
        self.stats.calls += 1
        try:
            checked = self._ask(_Request(image_hwc, phrases))
        except FinderError as error:
            self._note_failure(error)
            raise
        finally:
            self.stats.busy_s += time.monotonic() - begun_s
        self._failures_in_a_row = 0
        self.stats.invalid += checked.invalid
        self.stats.surplus += checked.surplus
        return checked.proposals

    def close(self) -> None:
        """Let the thread end; one that hangs is left behind."""
        if self._thread is not None and self._requests.empty():
            self._requests.put(None)
            self._thread = None

    def _ask(self, request: _Request) -> Checked:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, name=f"finder-{self.name}", daemon=True
            )
            self._thread.start()
        self._requests.put(request)
        try:
            answer = self._answers.get(timeout=self._timeout_s)
        except queue.Empty:
            self.gave_up = f"no answer within {self._timeout_s:g} s"
            raise FinderError(
                f"finder {self.name} gave {self.gave_up}", "it is not asked again in this run"
            ) from None
        if isinstance(answer, FinderError):
            raise answer
        if isinstance(answer, BaseException):
            raise FinderError(
                f"finder {self.name} failed: {type(answer).__name__}: {answer}"
            ) from answer
        height, width = request.image_hwc.shape[:2]
        return check_proposals(answer, height, width, finder=self.name)

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            try:
                answer: object = self._finder.find(request.image_hwc, request.phrases)
            except Exception as error:
                answer = error
            self._answers.put(answer)

    def _note_failure(self, error: FinderError) -> None:
        self.stats.failures += 1
        self._failures_in_a_row += 1
        if self.gave_up is None and self._failures_in_a_row == MAX_FAILURES:
            self.gave_up = f"{MAX_FAILURES} failures in a row, the last: {error.message}"
