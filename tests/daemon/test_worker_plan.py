"""How many workers there are, which one takes a stream, and when one is ended."""

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from tracker.daemon.config.schema import DaemonConfig
from tracker.daemon.messages import RequestError
from tracker.daemon.telemetry.health import TRACKER_BUSY_S
from tracker.daemon.workers.plan import plan_workers
from tracker.daemon.workers.pool import WorkerPool
from tracker.daemon.workers.watch import PING_EVERY_S, Watch


@pytest.mark.parametrize(
    ("count", "device", "processors", "gpus", "streams", "processes", "devices"),
    [
        (0, "auto", 8, 0, 8, 0, ("auto",)),
        (3, "cpu", 8, 2, 8, 3, ("cpu",)),
        ("auto", "auto", 2, 0, 8, 2, ("auto",)),
        ("auto", "cpu", 16, 4, 8, 8, ("cpu",)),
        ("auto", "cpu", 16, 0, 1, 1, ("cpu",)),
        ("auto", "auto", 16, 2, 64, 2, ("cuda:0", "cuda:1")),
        ("auto", "cuda:1", 16, 2, 64, 1, ("cuda:1",)),
        ("auto", "mps", 8, 0, 8, 1, ("mps",)),
    ],
)
def test_how_many_workers_a_machine_has(
    count: Any,
    device: str,
    processors: int,
    gpus: int,
    streams: int,
    processes: int,
    devices: tuple[str, ...],
) -> None:
    plan = plan_workers(
        count, device=device, processors=processors, gpus=gpus, most_streams=streams
    )
    assert (plan.processes, plan.devices) == (processes, devices)
    for running in range(1, max(1, processes) + 1):
        assert plan.threads(running) >= 1
        assert plan.threads(running) * running <= max(processors, running)


def test_the_configuration_takes_a_number_alone() -> None:
    assert DaemonConfig.model_validate({"workers": 2}).workers.count == 2
    assert DaemonConfig.model_validate({"workers": "auto"}).workers.count == "auto"
    whole = {"count": 1, "memory_bytes": 2**30, "hang_timeout_s": 5}
    assert DaemonConfig.model_validate({"workers": whole}).workers.memory_bytes == 2**30
    assert DaemonConfig().workers.count == 0
    for wrong in ("many", -1, 65, {"count": 1, "colour": 2}):
        with pytest.raises(ValidationError):
            DaemonConfig.model_validate({"workers": wrong})


class FakeWorker:
    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads

    def limit_threads(self, threads: int) -> None:
        self.threads = threads


def test_workers_are_started_as_streams_come_and_share_the_processors() -> None:
    first, started = FakeWorker("0", 4), []

    def start(index: int, running: int) -> Any:
        started.append(FakeWorker(str(index), 4 // running))
        return started[-1]

    pool = WorkerPool([first], most=2, start=start, threads=lambda running: 4 // running)  # type: ignore[list-item]
    counts: Counter[str] = Counter()
    taken = []
    for _ in range(5):
        worker = pool.for_stream(counts)
        counts[worker.name] += 1
        taken.append(worker.name)
    assert taken == ["0", "1", "0", "1", "0"]
    assert first.threads == started[0].threads == 2
    counts["0"] = 0
    assert pool.for_stream(counts).name == "0", "the emptiest"
    with pytest.raises(RequestError, match="no worker 7"):
        pool.named("7")


def test_a_process_that_does_not_answer_or_holds_too_much_is_at_fault() -> None:
    now_s, held, used_s = [100.0], [10], [5.0]
    watch = Watch(
        hang_timeout_s=10,
        most_bytes=2**30,
        memory_bytes=lambda: held[0],
        processor_s=lambda: used_s[0],
        clock_s=lambda: now_s[0],
    )
    assert watch.is_due() and not watch.is_due()
    now_s[0] += PING_EVERY_S
    assert watch.is_due()
    assert watch.fault() == ""
    now_s[0] += 9.5
    assert "does not answer for 10 s" in watch.fault()
    for _ in range(49):
        used_s[0] += 0.01  # it is starved, not stopped
        now_s[0] += 1.0
        assert watch.fault() == ""
    used_s[0] += 0.01
    now_s[0] += 1.0
    assert "does not answer for 60 s" in watch.fault()
    watch.answered(busy_s=1.0)
    assert watch.fault() == ""
    held[0] = 2**30 + 1
    assert "holds 1024 MiB" in watch.fault()
    held[0] = 0
    watch.answered(busy_s=TRACKER_BUSY_S + 1)
    assert "at one frame or command" in watch.fault()
