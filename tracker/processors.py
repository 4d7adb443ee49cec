"""Thread governor: as many threads as others leave processors free.

Two OpenMP threads that share processors with a busy program wait for each other at every barrier:
each barrier lasts until the one that was descheduled has run again. There one thread is several
times faster than two. So the number follows what is free, down at once and up after a while.

Two signs tell. Programs take processors: `/proc/stat` has what is not our own. And the computing
thread waits for a processor although it could run: `schedstat` has how long. The second sees what
the first does not, such as other threads of this process, or a quota of a container.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from tracker.process import usable_processors

EVERY_S = 0.5
# Of a processor. Others may take this much of one before a thread is given up, ...
_YIELD_ABOVE = 0.4
# ... and at most this much of it when the thread is taken back.
_RETAKE_BELOW = 0.15
# Part of the time in which the computing thread could run that it waits for a processor, above
# which a thread is given up, ...
_WAITS_ABOVE = 0.2
# ... and below which it is taken back.
_WAITS_BELOW = 0.05
_CALM_LOOKS = 2  # looks in a row that find it free, before a thread is taken back
_IDLE_FIELDS = (3, 4)  # of a line of /proc/stat: idle, and waiting for input or output
_BUSY_FIELDS = 8  # up to the time stolen by other virtual machines; what follows is counted twice


@dataclass(frozen=True, slots=True)
class ProcessorUse:
    """Time used so far on the processors that this process may use, in seconds.

    Attributes:
        at_s: When, by the monotonic clock.
        busy_s: Of all programs, over all these processors.
        own_s: Of this process.
        ran_s: Of the calling thread.
        waited_s: For which the calling thread could have run, and had no processor.
    """

    at_s: float
    busy_s: float
    own_s: float
    ran_s: float = 0.0
    waited_s: float = 0.0


def read_processor_use() -> ProcessorUse | None:
    """The use of the processors until now; None where the system does not say (not Linux)."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        allowed = {f"cpu{index}" for index in os.sched_getaffinity(0)}
    except (OSError, AttributeError):
        return None
    ticks = sum(_busy_ticks(line) for line in lines if line.partition(" ")[0] in allowed)
    times = os.times()
    return ProcessorUse(
        time.monotonic(),
        ticks / os.sysconf("SC_CLK_TCK"),
        times.user + times.system,
        *_thread_times(),
    )


def _thread_times() -> tuple[float, float]:
    """Seconds that the calling thread ran and waited; zeros where the kernel does not say."""
    try:
        ran_ns, waited_ns, _ = Path("/proc/thread-self/schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0, 0.0
    return int(ran_ns) / 1e9, int(waited_ns) / 1e9


def _busy_ticks(line: str) -> int:
    fields = line.split()[1 : 1 + _BUSY_FIELDS]
    return sum(int(value) for index, value in enumerate(fields) if index not in _IDLE_FIELDS)


class ThreadGovernor:
    """Sets the number of torch's threads of the calling thread, as other programs come and go.

    It begins with the number that is set. `adjust` is called between frames by the thread that
    computes, and looks at the processors no more often than every `EVERY_S` seconds.

    Attributes:
        threads: As set now.
    """

    def __init__(
        self,
        *,
        most: int | None = None,
        processors: int | None = None,
        read: Callable[[], ProcessorUse | None] = read_processor_use,
        set_threads: Callable[[int], None] = torch.set_num_threads,
    ) -> None:
        """Look at the processors for the first time.

        Args:
            most: Threads where nobody else computes; as many as torch has now if None.
            processors: Number of processors; those that this process may use if None.
            read: Reads the use of the processors.
            set_threads: Sets the number of threads.
        """
        self._most = torch.get_num_threads() if most is None else most
        self._processors = usable_processors() if processors is None else processors
        self._read = read
        self._set_threads = set_threads
        self._before = read()
        self._calm = 0
        self.threads = self._most

    def limit(self, most: int) -> None:
        """Have at most so many threads from now on; any thread may call it."""
        self._most = most

    def adjust(self) -> None:
        """Give threads up, or take them back, where the processors ask for it."""
        if self.threads > self._most:
            self._set(self._most)
        if self._before is None or self._most == 1:
            return
        if time.monotonic() - self._before.at_s < EVERY_S:
            return
        now = self._read()
        if now is not None:
            foreign, waits = _foreign(self._before, now), _waits(self._before, now)
            self._before = now
            self._follow(self._processors - foreign, waits)

    def _follow(self, free: float, waits: float) -> None:
        """Move towards as many threads as there are processors free of others."""
        down = max(1, min(self._most, int(free + _YIELD_ABOVE)))
        up = max(1, min(self._most, int(free + _RETAKE_BELOW)))
        if waits > _WAITS_ABOVE:
            down = min(down, max(1, self.threads - 1))
        if waits > _WAITS_BELOW:
            up = min(up, self.threads)
        self._calm = self._calm + 1 if up > self.threads else 0
        if down < self.threads:
            self._set(down)
        elif self._calm >= _CALM_LOOKS:
            self._set(up)

    def _set(self, threads: int) -> None:
        self._calm = 0
        self.threads = threads
        self._set_threads(threads)


def _foreign(before: ProcessorUse, now: ProcessorUse) -> float:
    """Processors' worth of work that other programs did between two looks."""
    elapsed_s = max(now.at_s - before.at_s, 1e-6)
    foreign_s = (now.busy_s - before.busy_s) - (now.own_s - before.own_s)
    return max(0.0, foreign_s / elapsed_s)


def _waits(before: ProcessorUse, now: ProcessorUse) -> float:
    """Part of its time in which the computing thread had no processor, between two looks."""
    waited_s = max(0.0, now.waited_s - before.waited_s)
    wanted_s = waited_s + max(0.0, now.ran_s - before.ran_s)
    return waited_s / wanted_s if wanted_s else 0.0
