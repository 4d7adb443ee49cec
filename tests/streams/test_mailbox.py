"""The mailbox between a decoder and the tracker: bounded, by its policy, and counted."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.mailbox import Mailbox
from tests.support.supervised import PATIENCE_S, wait_until


def mailbox(
    *, capacity: int, drop_stale: bool, on_put: Callable[[], None] = lambda: None
) -> Mailbox[int]:
    return Mailbox(capacity=capacity, drop_stale=drop_stale, on_put=on_put)


class Producer(threading.Thread):
    """Puts items from a thread of its own, and keeps what `put` said."""

    def __init__(self, box: Mailbox[int], items: range) -> None:
        super().__init__(daemon=True)
        self.said: list[bool] = []
        self._box = box
        self._items = items
        self.start()

    def run(self) -> None:
        for item in self._items:
            self.said.append(self._box.put(item))

    def finish(self) -> list[bool]:
        self.join(PATIENCE_S)
        assert not self.is_alive()
        return self.said


@given(capacity=st.integers(1, 5), steps=st.lists(st.booleans(), max_size=40))
def test_the_newest_are_kept_and_every_other_is_counted(capacity: int, steps: list[bool]) -> None:
    box = mailbox(capacity=capacity, drop_stale=True)
    expected: list[int] = []
    put = taken = 0
    for is_put in steps:
        if is_put:
            assert box.put(put)
            expected = [*expected, put][-capacity:]
            put += 1
        else:
            assert box.get() == (expected.pop(0) if expected else None)
            taken = put - box.dropped - len(box)
    assert len(box) == len(expected)
    assert box.put_count == put == box.dropped + taken + len(box)


def test_nothing_is_lost_where_the_producer_waits() -> None:
    box = mailbox(capacity=2, drop_stale=False)
    producer = Producer(box, range(50))
    taken: list[int] = []
    while len(taken) < 50:
        assert len(box) <= 2
        item = box.get()
        if item is not None:
            taken.append(item)
    assert taken == list(range(50))
    assert producer.finish() == [True] * 50
    assert (box.dropped, box.put_count) == (0, 50)


def test_closing_wakes_a_producer_that_waits_and_refuses_items_until_reopened() -> None:
    box = mailbox(capacity=1, drop_stale=False)
    producer = Producer(box, range(2))
    wait_until(lambda: len(producer.said) == 1, "a full mailbox")
    box.close()
    assert producer.finish() == [True, False]
    assert not box.put(7)
    assert box.get() == 0
    assert box.get() is None
    box.reopen()
    assert box.put(8)
    assert box.get() == 8


def test_a_producer_that_waited_is_refused_even_where_the_mailbox_is_open_again() -> None:
    box = mailbox(capacity=1, drop_stale=False)
    producer = Producer(box, range(2))
    wait_until(lambda: len(producer.said) == 1, "a full mailbox")
    with box._changed:  # no thread comes in between
        box.close()
        box.reopen()
    assert producer.finish() == [True, False]
    assert len(box) == 1


def test_an_item_wakes_the_consumer() -> None:
    woken: list[int] = []
    box = mailbox(capacity=1, drop_stale=True, on_put=lambda: woken.append(len(box)))
    box.put(1)
    box.put(2)
    assert woken == [1, 1]


def test_another_policy_holds_from_the_next_item_on() -> None:
    box = mailbox(capacity=4, drop_stale=False)
    for item in range(4):
        box.put(item)
    box.arrange(capacity=1, drop_stale=True)
    assert len(box) == 4
    box.put(4)
    assert (box.get(), box.get(), box.dropped) == (4, None, 4)
    with pytest.raises(ValueError, match="needs room"):
        box.arrange(capacity=0, drop_stale=True)
