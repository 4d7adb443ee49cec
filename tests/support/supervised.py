"""A supervisor with everything that it tells, for tests that wait for what happens."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from streams import SourceOptions
from tracker.daemon.config.schema import RetryConfig
from tracker.daemon.messages import Event, LiveFrame
from tracker.daemon.sources.supervisor import Supervisor
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import StreamState

PATIENCE_S = 60.0
QUICK = RetryConfig(first_s=0.02, longest_s=0.1, permanent_s=3600)


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something is so; fails, by name, where it never is."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.005)


class Watched:
    """A running supervisor, the events it told, and a consumer of its frames."""

    def __init__(self, settings: StreamSettings, retry: RetryConfig, **options: Any) -> None:
        self.events: list[Event] = []
        self._frame_came = threading.Event()
        self.supervisor = Supervisor(
            "cam1",
            settings,
            retry,
            on_frame=self._frame_came.set,
            on_event=self.events.append,
            **options,
        )

    def take(self, count: int) -> list[LiveFrame]:
        """Take frames as the tracker does, as fast as they come."""
        taken: list[LiveFrame] = []
        while len(taken) < count:
            self._frame_came.clear()
            live = self.supervisor.mailbox.get()
            if live is not None:
                taken.append(live)
            else:
                assert self._frame_came.wait(PATIENCE_S), f"only {len(taken)} frames came"
        return taken

    def take_rest(self) -> list[LiveFrame]:
        """Take what is in the mailbox."""
        return list(iter(self.supervisor.mailbox.get, None))

    def wait_for(self, state: StreamState) -> None:
        wait_until(lambda: self.supervisor.status().state is state, f"state {state}")

    @property
    def names(self) -> list[EventName]:
        return [event.name for event in self.events]


@contextmanager
def watched(
    url: str,
    retry: RetryConfig = QUICK,
    *,
    options: dict[str, Any] | None = None,
    source_options: SourceOptions | None = None,
    **settings: Any,
) -> Iterator[Watched]:
    """Run a supervisor on `url` inside the block; at its end no thread of it is left."""
    if source_options is not None:
        settings["options"] = source_options
    result = Watched(StreamSettings(url=url, **settings), retry, **(options or {}))
    result.supervisor.start()
    try:
        yield result
    finally:
        assert result.supervisor.stop(PATIENCE_S)
