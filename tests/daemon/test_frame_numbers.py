"""Frame numbers: none is given out twice, whatever ends the daemon."""

import logging
import random
from typing import Any

import pytest

from tests.support.local_streams import local_streams
from tests.support.operations import FakePublisher, FakeScheduler, FakeSupervisor
from tracker.daemon.tracking.frame_numbers import RESERVED, Numbering
from tracker.daemon.workers import local
from tracker.protocol.fields import StreamSettings

SETTINGS = StreamSettings(url="lavfi:testsrc2")


def test_numbers_are_given_out_in_order_without_a_state_folder() -> None:
    numbers = Numbering(on_low=lambda: pytest.fail("asked")).start("cam", 7)
    assert [numbers.take() for _ in range(3 * RESERVED)] == list(range(7, 7 + 3 * RESERVED))


def test_more_are_asked_for_before_the_reserved_ones_are_used_up_and_not_with_every_frame() -> None:
    asked: list[int] = []
    numbering = Numbering(keeps=True, on_low=lambda: asked.append(numbers.next))
    numbering.reserve(RESERVED)
    numbers = numbering.start("cam")
    for _ in range(RESERVED):
        numbers.take()
    assert 0 < asked[0] < RESERVED
    assert len(asked) <= 20
    numbering.reserve(10 * RESERVED)
    count = len(asked)
    for _ in range(RESERVED):
        numbers.take()
    assert len(asked) == count


def test_where_the_disk_refuses_numbers_go_on_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    numbering = Numbering(keeps=True)
    numbering.reserve(RESERVED)
    numbers = numbering.start("cam")
    assert [numbers.take() for _ in range(3 * RESERVED)] == list(range(3 * RESERVED))
    told = f"stream cam: frame numbers from {RESERVED} on are not reserved"
    assert caplog.text.count("not reserved") == caplog.text.count(told) == 1
    numbering.reserve(5 * RESERVED)
    numbers.take()
    assert caplog.text.count("not reserved") == 1


class Disk:
    """A daemon's streams and the list that its state folder holds, which a kill leaves as it is."""

    def __init__(self) -> None:
        self.listed: dict[str, int] = {}
        self.first = 0
        self.given: dict[str, set[int]] = {}
        self.start()

    def start(self) -> None:
        self.streams, _ = local_streams(
            FakeScheduler(),
            FakePublisher(),
            numbering=Numbering(keeps=True),
            supervise=self.supervise,
        )
        self.running: dict[str, FakeSupervisor] = {}
        self.streams._numbering.retire(self.first)
        for name, first_seq in self.listed.items():
            self.streams.add(name, SETTINGS, first_seq=first_seq)
        self.save()

    def supervise(self, stream: str, *args: Any, **given: Any) -> Any:
        self.running[stream] = FakeSupervisor(stream, *args, **given)
        return self.running[stream]

    def save(self) -> None:
        kept, self.first = self.streams.kept(), self.streams.first_seq()
        self.listed = {name: one.next_seq for name, one in kept.items()}
        self.streams.reserve(kept, self.first)

    def end(self) -> None:
        assert self.streams.close_all(20)
        self.save()

    def frames(self, name: str, count: int) -> None:
        if name not in self.running:
            self.streams.add(name, SETTINGS)
        numbers = set(self.running[name].give_numbers(count))
        assert not numbers & self.given.setdefault(name, set()), "a number was given out twice"
        self.given[name] |= numbers

    def remove(self, name: str) -> None:
        if self.running.pop(name, None):
            self.streams.remove(name).result(20)


@pytest.mark.parametrize("seed", range(20))
def test_no_number_comes_twice_under_a_name_whatever_happens(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams come, run, go and come back; the list is written now and then; kills and restarts."""
    monkeypatch.setattr(local, "can_start", lambda count: True)  # no thread of theirs is started
    chance, disk = random.Random(seed), Disk()
    since_saved = 0
    for _ in range(300):
        name, count = chance.choice("abc"), chance.randrange(1, 2000)
        what = chance.choice(["save", "remove", "kill", "end", *4 * ["frames"]])
        if what == "remove":
            disk.remove(name)
        elif what != "frames":
            if what == "end":
                disk.end()
            if what != "save":
                disk.start()
            disk.save()
            since_saved = 0
        elif since_saved + count < RESERVED:
            disk.frames(name, count)
            since_saved += count
    assert sum(len(numbers) for numbers in disk.given.values()) > 50_000


def test_every_run_of_a_daemon_is_another_epoch() -> None:
    epochs = {Numbering().epoch for _ in range(1000)}
    assert len(epochs) == 1000
    assert all(1 <= len(epoch) <= 32 and set(epoch) <= set("0123456789abcdef") for epoch in epochs)
