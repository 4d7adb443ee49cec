"""Port between the daemon and whatever reads and tracks its streams."""

from concurrent.futures import Future
from typing import Protocol

from tracker.daemon.messages import Command
from tracker.daemon.telemetry.status import SourceStatus, TrackingStatus, WorkerStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.protocol.data import Topic
from tracker.protocol.fields import StreamSettings


class Worker(Protocol):
    """Owner of a model and of some streams; from any thread.

    What it tracks, and what happens to sources and objects, goes to the publisher that it was made
    with. Nothing waits but `close_sources` and `stop`. A stream that it does not have is a
    `RequestError` of UNKNOWN_STREAM.
    """

    name: str

    def wait_ready(self) -> None:
        """Wait until its model is loaded; raises TrackdError where it cannot be."""

    def check_room(self) -> None:
        """Refuse another stream that runs.

        Raises:
            RequestError: LIMIT, the system has not threads enough.
        """

    def add(
        self,
        stream: str,
        settings: StreamSettings,
        numbers: FrameNumbers,
        *,
        paused: bool,
        trusted: bool,
    ) -> None:
        """Take a stream; open its source, unless it is `paused`.

        Args:
            stream: A name that no other stream of the daemon has.
            settings: Its source.
            numbers: The numbers of its frames.
            paused: Do not open it before `resume`.
            trusted: The configuration names it: the policy for clients' sources is not asked.

        Raises:
            RequestError: LIMIT of threads; it does not have the stream then.
        """

    def remove(self, stream: str) -> "Future[None]":
        """Close its source and forget its objects; done when nothing of it is sent any more.

        Raises:
            RequestError: LIMIT of threads; it has the stream still.
        """

    def pause(self, stream: str) -> None:
        """Close its source and keep its objects."""

    def resume(self, stream: str) -> None:
        """Open its source again, or retry a failing one now; LIMIT of threads as in `add`."""

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """Queue a command for its objects; see `Scheduler.submit`."""

    def record(self, stream: str, *, on: bool) -> None:
        """Record its packets from now on, or stop; only where its settings have `record`."""

    def source(self, stream: str) -> SourceStatus:
        """Status of its source."""

    def tracking(self, stream: str) -> TrackingStatus:
        """Status of its objects."""

    def want(self, stream: str, topics: frozenset[Topic]) -> None:
        """Make these previews of a stream from now on, where they are made by the worker."""

    def limit_threads(self, threads: int) -> None:
        """Compute with at most so many threads from now on."""

    def status(self) -> WorkerStatus:
        """Status of the worker itself."""

    def let_go(self) -> None:
        """Number no more frames; does not wait for the sources to close."""

    def close_sources(self, timeout_s: float) -> bool:
        """Close all sources; False where some thread hangs."""

    def stop(self, timeout_s: float) -> bool:
        """Take no more commands, and end; False where it hangs."""
