"""Queue of a sink."""

import threading

from tests.support.notifying import queued
from tracker.daemon.notify.queue import EventQueue


def test_a_full_queue_drops_the_oldest_and_counts_it() -> None:
    queue = EventQueue(max_events=3, max_bytes=1000)
    for number in range(5):
        queue.put(queued(number))
    assert (len(queue), queue.bytes, queue.dropped) == (3, 300, 2)
    taken = [queue.take() for _ in range(4)]
    assert [one and one.message.seq for one in taken] == [2, 3, 4, None]
    for number in range(3):
        queue.put(queued(number, size=400))
    assert (len(queue), queue.bytes, queue.dropped) == (2, 800, 3)
    queue.put(queued(9, size=1001))
    assert (len(queue), queue.bytes, queue.dropped) == (0, 0, 6)


def test_who_waits_for_a_queue_is_woken_by_an_event_and_by_its_end() -> None:
    queue, woken = EventQueue(9, 999), []
    thread = threading.Thread(
        target=lambda: woken.extend([queue.wait(), queue.take(), queue.wait()])
    )
    thread.start()
    queue.put(queued(1))
    queue.close()
    thread.join(20)
    assert woken == [True, queued(1), False]
