"""Supervisor of one stream's source: opens it, watches it, opens it again when it fails."""

import logging
import random
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto
from typing import Literal

from streams.address import redact
from streams.errors import (
    SourceDenied,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceUsageError,
    StreamError,
)
from streams.info import SourceInfo
from streams.mailbox import Mailbox
from streams.sources.registry import open_source
from tracker.daemon.config.schema import LimitsConfig, RetryConfig
from tracker.daemon.messages import Event, LiveFrame
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.sources.pixel_budget import PixelBudget, PixelLimit
from tracker.daemon.sources.reader import OpenSource, Reader
from tracker.daemon.telemetry.status import SourceStatus
from tracker.daemon.tracking.frame_numbers import FrameNumbers
from tracker.exhausted import ExhaustedError, exhausted
from tracker.protocol.data import EventName
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import StreamState

_LOG = logging.getLogger("trackd.supervisor")
_LATEST_FRAMES = 1
_EVERY_FRAMES = 4
_MAX_LEFT = 3  # readers that were left and have not come back
_LEAVE_S = 2.0  # a device cannot be opened before the reader that had it has closed it
_WATCH_S = 1.0

_EVENTS = {
    StreamState.CONNECTING: (EventName.STREAM_CONNECTING, logging.INFO),
    StreamState.RUNNING: (EventName.STREAM_RUNNING, logging.INFO),
    StreamState.RETRYING: (EventName.STREAM_RETRYING, logging.WARNING),
    StreamState.FAILED: (EventName.STREAM_FAILED, logging.ERROR),
    StreamState.PAUSED: (EventName.STREAM_PAUSED, logging.INFO),
    StreamState.ENDED: (EventName.STREAM_ENDED, logging.INFO),
}


class _StuckError(StreamError):
    """Too many readers hang to begin another."""


class _NoThreadError(StreamError):
    """The system gives no more threads."""


_PERMANENT = (SourceNotFound, SourceDenied, SourceTooLarge, SourceUsageError, _StuckError)


class _Wanted(Enum):
    RUN = auto()
    PAUSE = auto()
    STOP = auto()


class Supervisor:
    """Owns one stream's source: opens it, reads it in a thread, opens it again when it fails.

    One thread reads (`Reader`), a second one watches it: it alone decides what happens next, so
    that a reader that hangs inside FFmpeg stops nothing. At most `_MAX_LEFT` such readers are
    left behind before the stream counts as failed.

    The methods may be called from any thread, and only `stop` waits.

    Attributes:
        mailbox: Where the frames are.
    """

    def __init__(
        self,
        stream: str,
        settings: StreamSettings,
        retry: RetryConfig,
        *,
        on_frame: Callable[[], None],
        on_event: Callable[[Event], None],
        numbers: FrameNumbers | None = None,
        pixels: PixelLimit | None = None,
        open_source: OpenSource = open_source,
        random: Callable[[], float] = random.random,
        hang_margin_s: float = 5.0,
    ) -> None:
        """Prepare; nothing is opened before `start` or `resume`.

        Args:
            stream: Name of the stream.
            settings: Its source, and how it is read.
            retry: How long to wait before it is opened again.
            on_frame: Called after each frame; must not wait.
            on_event: Called, in order, with every change of state; must not wait.
            numbers: The numbers of its frames; from 0 on where left out.
            pixels: What all streams share; the default of one daemon where left out.
            open_source: Opens the source.
            random: Numbers from 0 to 1, which spread the waits.
            hang_margin_s: Seconds past the timeouts of a source after which its reader hangs.
        """
        self.mailbox: Mailbox[LiveFrame] = Mailbox(
            capacity=_LATEST_FRAMES, drop_stale=True, on_put=on_frame
        )
        self._stream = stream
        self._settings = settings
        self._status = SourceStatus(redact(settings.url))  # counters leave out the present reader
        self._on_event = on_event
        self._open_source = open_source
        self._hang_margin_s = hang_margin_s
        self._numbers = numbers or FrameNumbers(stream)
        self._pixels = pixels or PixelBudget(LimitsConfig())
        self._backoff = Backoff(retry, random=random)
        self._thread = threading.Thread(
            target=self._supervise, name=f"supervise-{stream}", daemon=True
        )
        self._changed = threading.Condition()  # guards what follows
        self._started = False
        self._wanted = _Wanted.RUN
        self._retry_now = False
        self._reader: Reader | None = None
        self._fault: Exception | None = None  # of who takes its frames
        self._left: list[Reader] = []
        self._lost_it = False  # it failed after it had run
        self._running_since_s = 0.0
        self._last_frame_s: float | None = None

    def start(self) -> None:
        """Begin to open the source.

        Raises:
            RuntimeError: The system gives no more threads.
        """
        with self._changed:
            self._ensure_thread()
            self._become(StreamState.CONNECTING, f"opening {self._status.url}")

    def pause(self) -> None:
        """Close the source; frames that wait in the mailbox stay."""
        with self._changed:
            if self._wanted is not _Wanted.RUN:
                return
            self._wanted = _Wanted.PAUSE
            self._let_go()
            self._become(StreamState.PAUSED)
            self._changed.notify_all()

    def resume(self) -> None:
        """Open a paused source, or one that ended; try a failing one again now.

        A file begins at its start.

        Raises:
            RuntimeError: The system gives no more threads.
        """
        with self._changed:
            if self._wanted is _Wanted.STOP or self._status.state is StreamState.RUNNING:
                return
            self._ensure_thread()
            self._wanted = _Wanted.RUN
            self._retry_now = True
            self._backoff.reset()
            if self._status.state is not StreamState.CONNECTING:
                self._become(StreamState.CONNECTING, f"opening {self._status.url}")
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        """Close the source because its frames cannot be tracked; it is tried again after minutes.

        Args:
            error: Why not.
        """
        with self._changed:
            if self._reader is None:
                return
            self._let_go()
            self._fault = error
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """Close the source for good.

        Args:
            timeout_s: Longest wait for its threads, in seconds.

        Returns:
            False where a thread hangs; it was left behind and does nothing more.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            self._wanted = _Wanted.STOP
            self._let_go()
            self._changed.notify_all()
            came_back = self._changed.wait_for(lambda: not self._still_left(), timeout_s)
            for reader in self._still_left():
                self._abandon(reader)
            started = self._started
        if started:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return came_back and not self._thread.is_alive()

    @property
    def epoch(self) -> str | None:
        """Of the numbers of its frames: see `ReaderOwner`."""
        return self._numbers.epoch

    def status(self) -> SourceStatus:
        """Current status of the source."""
        with self._changed:
            status, reader, last_s = self._status, self._reader, self._last_frame_s
            return replace(
                status,
                healthy=not self._started or self._is_watched(),
                dropped=self.mailbox.dropped,
                frames_waiting=len(self.mailbox),
                corrupt_packets=status.corrupt_packets + (reader.corrupt_packets if reader else 0),
                decode_s=status.decode_s + (reader.decode_s if reader else 0.0),
                silent_s=None if last_s is None else time.monotonic() - last_s,
            )

    def hanging_threads(self) -> int:
        """Readers that hung, were left behind, and have not come back."""
        with self._changed:
            return sum(reader.abandoned for reader in self._still_left())

    # What the reader reports, from its own thread.

    def room(self) -> int:
        """Return how many pixels a frame may have: see `ReaderOwner`."""
        return self._pixels.room(self._stream)

    def fits(self, pixels: int) -> bool:
        """Take note of how many they have: see `ReaderOwner`."""
        return self._pixels.take(self._stream, pixels)

    def opened(self, reader: Reader, info: SourceInfo) -> None:
        """Take note that the source is open: see `ReaderOwner`."""
        with self._changed:
            if reader is not self._reader or self._status.state is StreamState.RUNNING:
                return
            self._status.policy = policy = self._resolved_policy(info)
            latest = policy == "latest"
            self.mailbox.arrange(
                capacity=_LATEST_FRAMES if latest else _EVERY_FRAMES, drop_stale=latest
            )
            if self._lost_it:
                self._status.reconnects += 1
                self._lost_it = False
            self._running_since_s = time.monotonic()
            self._become(StreamState.RUNNING, _described(info, policy))

    def next_seq(self, reader: Reader) -> int | None:
        """Number a frame: see `ReaderOwner`."""
        with self._changed:
            if reader is not self._reader:
                return None
            self._status.frames += 1
            self._last_frame_s = time.monotonic()
            return self._numbers.take()

    def done(self, reader: Reader) -> None:
        """Wake the thread that watches: see `ReaderOwner`."""
        with self._changed:
            self._changed.notify_all()

    # What the thread that watches does; it holds the lock except while it waits.

    def _supervise(self) -> None:
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._wanted is not _Wanted.PAUSE)
                if self._wanted is _Wanted.STOP:
                    return
                try:
                    wait_s = self._attempt()
                except Exception as error:  # whatever it is, the source is tried again
                    self._let_go()
                    wait_s = self._failed(error)
                self._changed.wait_for(self._is_interrupted, wait_s)

    def _attempt(self) -> float | None:
        """Read the source as long as it goes well.

        Returns:
            Seconds to wait before the next attempt; None to wait until one is asked for.
        """
        self._changed.wait_for(self._may_open, _LEAVE_S)
        if self._wanted is not _Wanted.RUN:
            return 0.0
        if len(self._still_left()) >= _MAX_LEFT:
            reason = f"{_MAX_LEFT} threads hang while they read {self._status.url}"
            return self._failed(_StuckError(reason, "check the device or the disk; restart trackd"))
        self.mailbox.reopen()
        reader = self._new_reader()
        try:
            reader.start()
        except RuntimeError:
            return self._failed(_no_thread())
        self._reader = reader
        while self._reader is reader and not reader.is_done:
            if reader.hangs(time.monotonic()):
                self._let_go()
                self._abandon(reader)
                hint = "its reader hangs and was left behind"
                return self._failed(SourceTimeout(f"no answer from {self._status.url}", hint))
            self._changed.wait(min(_WATCH_S, self._hang_margin_s))
        if self._reader is not reader:  # paused, stopped, or of no use to who takes its frames
            fault, self._fault = self._fault, None
            wanted = self._wanted is _Wanted.RUN
            return self._failed(fault, for_good=True) if fault is not None and wanted else 0.0
        self._let_go()
        if reader.error is not None:
            return self._failed(reader.error)
        self._retry_now = False
        damage = f", where it is damaged: {reader.damage}" if reader.damage else ""
        self._become(StreamState.ENDED, f"{self._status.url} was read to its end{damage}")
        return None

    def _failed(self, error: Exception, *, for_good: bool = False) -> float:
        """Take note of a failure; return the seconds to wait before the next attempt."""
        error = exhausted(error) or error
        ran_s = 0.0
        if self._status.state is StreamState.RUNNING:
            ran_s = time.monotonic() - self._running_since_s
            self._lost_it = True
        permanent = for_good or isinstance(error, _PERMANENT)
        wait_s = self._backoff.failed_for_good() if permanent else self._backoff.failed(ran_s)
        self._retry_now = False
        self._become(
            StreamState.FAILED if permanent else StreamState.RETRYING, error=self._one_line(error)
        )
        _LOG.info("stream %s: opened again in %.1f s", self._stream, wait_s)
        return wait_s

    def _one_line(self, error: Exception) -> str:
        """Say in one line, without credentials, what an error is."""
        if isinstance(error, StreamError | ExhaustedError):
            return " ".join(str(error).split())
        trace = "".join(traceback.format_exception(error)).replace(
            self._settings.url, self._status.url
        )
        _LOG.error("stream %s: unexpected error while reading\n%s", self._stream, trace)
        return (
            f"internal error while reading {self._status.url}: {type(error).__name__}; see the log"
        )

    def _become(self, state: StreamState, text: str = "", *, error: str = "") -> None:
        """Change the state, or its reason, and emit it."""
        if error and (state, error) == (self._status.state, self._status.error):
            return  # emitted already, and nothing is new
        self._status.state, self._status.error = state, error
        name, level = _EVENTS[state]
        text = text or error
        _LOG.log(level, "stream %s %s%s", self._stream, state, f": {text}" if text else "")
        newest_seq = self._numbers.next - 1 if self._status.frames else None
        self._on_event(Event(self._stream, name, time.time_ns(), newest_seq, text=text))

    def _new_reader(self) -> Reader:
        return Reader(
            self._stream,
            self._settings,
            self.mailbox,
            self,
            open_source=self._open_source,
            hang_margin_s=self._hang_margin_s,
        )

    def _let_go(self) -> None:
        """Be done with the reader: whatever it still does, it is not heard any more."""
        reader, self._reader = self._reader, None
        if reader is None:
            return
        reader.leave()
        self._pixels.leave(self._stream)
        self.mailbox.close()  # it may wait for room
        self._status.corrupt_packets += reader.corrupt_packets
        self._status.decode_s += reader.decode_s
        self._left = [*self._still_left(), reader]

    def _abandon(self, reader: Reader) -> None:
        """Count a reader that does not come back, once."""
        if not reader.abandoned:
            reader.abandoned = True
            self._status.abandoned_threads += 1

    def _still_left(self) -> list[Reader]:
        return [reader for reader in self._left if not reader.is_done]

    def _may_open(self) -> bool:
        now_s = time.monotonic()
        comes_back = any(not reader.hangs(now_s) for reader in self._still_left())
        return not comes_back or self._wanted is not _Wanted.RUN

    def _is_interrupted(self) -> bool:
        return self._retry_now or self._wanted is not _Wanted.RUN

    def _ensure_thread(self) -> None:
        if self._started:
            return
        try:
            self._thread.start()
        except RuntimeError:
            self._become(StreamState.FAILED, error=str(_no_thread()))
            raise
        self._started = True

    def _is_watched(self) -> bool:
        return self._wanted is _Wanted.STOP or self._thread.is_alive()

    def _resolved_policy(self, info: SourceInfo) -> Literal["latest", "every"]:
        if self._settings.policy != "auto":
            return self._settings.policy
        settings = self._settings
        timely = info.live or settings.realtime or settings.deadline is not None
        return "latest" if timely else "every"


def _no_thread() -> _NoThreadError:
    return _NoThreadError("the system gives the daemon no more threads", "raise TasksMax")


def _described(info: SourceInfo, policy: str) -> str:
    pace = f" at {float(info.fps):.4g} fps" if info.fps else ""
    kind = ", live" if info.live else ""
    return f"{info.width}x{info.height}{pace}{kind}, policy {policy}"
