"""All sinks together."""

import threading

from tracker.daemon.notify.notifier import Notifier
from tracker.daemon.telemetry.status import SinkStatus


def test_a_sink_that_takes_all_the_time_at_the_end_leaves_it_to_the_others() -> None:
    """The first is done only when the second has sent what it had."""
    sent = threading.Event()

    class Slow:
        name = "slow"
        given_s = 0.0

        def stop(self, timeout_s: float) -> None:
            assert sent.wait(timeout_s)
            self.given_s = timeout_s

        def status(self) -> SinkStatus:
            return SinkStatus(self.name)

    class Quick(Slow):
        def stop(self, timeout_s: float) -> None:
            self.given_s = timeout_s
            sent.set()

    sinks = Slow(), Quick()
    Notifier(sinks).stop(20.0)  # type: ignore[arg-type]
    assert [sink.given_s for sink in sinks] == [20.0, 20.0]
