"""Threads are given up where other programs compute, and taken back when they stop."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tracker import processors
from tracker.processors import EVERY_S, ProcessorUse, ThreadGovernor, read_processor_use


class Machine:
    """Two processors, on which other programs and the governed one take what they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.busy_s, self.own_s = 100.0, 500.0, 40.0
        self.ran_s = self.waited_s = 0.0
        self.threads: list[int] = []
        monkeypatch.setattr(processors.time, "monotonic", lambda: self.now_s)
        self.governor = ThreadGovernor(
            most=2, processors=2, read=self.read, set_threads=self.threads.append
        )

    def read(self) -> ProcessorUse:
        return ProcessorUse(self.now_s, self.busy_s, self.own_s, self.ran_s, self.waited_s)

    def run(self, *, others: float, own: float, looks: int = 1, waits: float = 0.0) -> int:
        """Let time pass, and return the number of threads after it."""
        for _ in range(looks):
            self.now_s += EVERY_S
            self.own_s += own * EVERY_S
            self.ran_s += (1 - waits) * EVERY_S
            self.waited_s += waits * EVERY_S
            self.busy_s += (own + others) * EVERY_S
            self.governor.adjust()
        return self.governor.threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    yield Machine(monkeypatch)


def test_alone_all_threads_are_used(machine: Machine) -> None:
    assert machine.run(others=0.1, own=1.8, looks=10) == 2
    assert machine.threads == []


@pytest.mark.parametrize(
    "others", [2 / 3, 1.0, 4 / 3, 2.0]
)  # what one or two busy programs get beside two threads, then beside one, of two processors
def test_beside_busy_programs_one_thread_is_left(machine: Machine, others: float) -> None:
    assert machine.run(others=others, own=2 - others) == 1
    assert machine.run(others=others, own=2 - others, looks=20) == 1
    assert machine.threads == [1]


def test_a_limit_holds_where_the_system_does_not_say_what_is_used() -> None:
    threads: list[int] = []
    governor = ThreadGovernor(most=4, processors=4, read=lambda: None, set_threads=threads.append)
    governor.limit(2)
    governor.adjust()
    assert (governor.threads, threads) == (2, [2])


def test_what_was_given_up_is_taken_back_after_a_while(machine: Machine) -> None:
    assert machine.run(others=1.0, own=1.0) == 1
    assert machine.run(others=0.05, own=1.0) == 1  # one look may be a pause of the other program
    assert machine.run(others=0.05, own=1.0) == 2
    assert machine.threads == [1, 2]


def test_a_program_that_takes_a_little_changes_nothing_either_way(machine: Machine) -> None:
    assert machine.run(others=0.3, own=1.7, looks=10) == 2
    machine.run(others=1.0, own=1.0)
    assert machine.run(others=0.3, own=1.0, looks=10) == 1


def test_a_thread_that_waits_for_a_processor_computes_alone(machine: Machine) -> None:
    """Whoever takes the processors: threads of this process, say, which are no foreign work."""
    assert machine.run(others=0.0, own=2.0, waits=0.15, looks=5) == 2
    assert machine.run(others=0.0, own=2.0, waits=0.3) == 1
    assert machine.run(others=0.0, own=1.5, waits=0.1, looks=10) == 1
    assert machine.run(others=0.0, own=1.0, waits=0.01, looks=2) == 2


def test_a_lower_limit_holds_at_once_and_a_higher_one_after_a_while(machine: Machine) -> None:
    machine.governor.limit(1)
    assert machine.run(others=0.0, own=1.0) == 1
    machine.governor.limit(2)
    assert machine.run(others=0.0, own=1.0, looks=3) == 2


def test_it_looks_no_more_often_than_needed(machine: Machine) -> None:
    machine.now_s += EVERY_S / 2
    machine.busy_s += EVERY_S  # all of it by others
    machine.governor.adjust()
    assert machine.governor.threads == 2


def test_where_the_system_does_not_tell_nothing_changes() -> None:
    governor = ThreadGovernor(most=2, processors=2, read=lambda: None, set_threads=pytest.fail)
    governor.adjust()
    assert governor.threads == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/stat")
def test_the_use_of_processors_counts_this_process_and_others() -> None:
    """A child that computes is others' work; the same loop here is our own."""
    loop = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    before = read_processor_use()
    subprocess.run([sys.executable, "-c", loop], check=True)
    between = read_processor_use()
    end_s = time.process_time() + 0.5
    while time.process_time() < end_s:
        pass
    after = read_processor_use()
    assert before is not None and between is not None and after is not None
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert between.busy_s - before.busy_s >= 0.5 - 5 * tick_s
    assert after.own_s - between.own_s >= 0.5 - 5 * tick_s
    assert after.busy_s - between.busy_s >= 0.5 - 5 * tick_s
