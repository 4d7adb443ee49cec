"""Plan of the workers: how many processes, with how many threads each, on which devices."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Workers of a daemon.

    Attributes:
        processes: How many there may be; 0 tracks in the daemon's own process.
        processors: That they share.
        devices: Where their models lie, each worker in turn.
        grows: They are started as streams come; else all at once.
        why: In words, for the log and for people who ask.
    """

    processes: int
    processors: int
    devices: tuple[str, ...]
    grows: bool
    why: str

    def threads(self, running: int) -> int:
        """Threads that each of so many running workers computes with."""
        return max(1, self.processors // max(1, running))


def plan_workers(
    count: int | Literal["auto"], *, device: str, processors: int, gpus: int, most_streams: int
) -> WorkerPlan:
    """The plan for a machine.

    Streams side by side need no barriers: a thread that waits for a processor holds up its own
    stream alone. So there are as many workers as processors before a stream has two threads. On
    GPUs there is one worker each.

    Args:
        count: As configured.
        device: Of the configuration: "auto", "cpu", "cuda", "cuda:N" or "mps".
        processors: That the daemon may use.
        gpus: CUDA devices that there are.
        most_streams: Streams that there may be at a time.
    """
    on_gpus = gpus > 0 and device in ("auto", "cuda")
    devices = tuple(f"cuda:{index}" for index in range(gpus)) if on_gpus else (device,)
    if count != "auto":
        why = f"{count} as configured" if count else "in the daemon's own process, as configured"
        return WorkerPlan(count, processors, devices, False, why)
    if on_gpus:
        return WorkerPlan(gpus, processors, devices, False, f"auto: one for each of {gpus} GPUs")
    if device not in ("auto", "cpu"):
        return WorkerPlan(1, processors, devices, False, f"auto: one, on {device}")
    most = max(1, min(processors, most_streams))
    why = f"auto: up to {most} for {processors} processors and {most_streams} streams"
    return WorkerPlan(most, processors, devices, True, f"{why}, as streams come")
