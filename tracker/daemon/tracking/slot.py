"""Slot of a stream in the scheduler: its tracker, its mailbox, its waiting commands."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace

from streams.mailbox import Mailbox
from tracker.daemon.messages import (
    Command,
    Event,
    LiveFrame,
    PromptCommand,
    RequestError,
    SaveCommand,
    Tracked,
)
from tracker.daemon.telemetry.status import TrackingStatus
from tracker.daemon.tracking.stream_tracker import CommandResult, StreamTracker
from tracker.exhausted import ExhaustedError, exhausted
from tracker.protocol.replies import ErrorCode

_LOG = logging.getLogger("trackd.scheduler")
_CLIENTS_COUNTED = 1024
#: Commands of a stream that prompts keep behind for longer than this wait until it is not.
BEHIND_S = 2.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command that was not applied yet; a prompt may wait for a first frame until `until_s`."""

    command: Command
    future: "Future[CommandResult]"
    until_s: float
    client: bytes = b""

    @classmethod
    def of(cls, command: Command, client: bytes = b"") -> "Waiting":
        """A command of a client that came just now."""
        wait_s = command.wait_s if isinstance(command, PromptCommand) else 0.0
        return cls(command, Future(), time.monotonic() + wait_s, client)


class Gate:
    """Gate for what a stream sends; nothing passes once it is removed, or saved to be moved."""

    def __init__(
        self, on_tracked: Callable[[Tracked], None], on_event: Callable[[Event], None]
    ) -> None:
        self._on_tracked = on_tracked
        self._on_event = on_event
        self._lock = threading.Lock()
        self._open = True

    def tracked(self, tracked: Tracked) -> None:
        """Pass on a tracked frame."""
        with self._lock:
            if self._open:
                self._on_tracked(tracked)

    def event(self, event: Event) -> None:
        """Pass on an event."""
        with self._lock:
            if self._open:
                self._on_event(event)

    @property
    def is_open(self) -> bool:
        """True while what comes is passed on."""
        return self._open

    def close(self) -> None:
        """Pass nothing on from now on."""
        with self._lock:
            self._open = False

    def open(self) -> None:
        """Pass on what comes, again."""
        with self._lock:
            self._open = True


class Slot:
    """A stream in the scheduler.

    Clients whose commands wait have their turns by what theirs took so far: the least comes first.
    That is counted until no command waits.

    Attributes:
        stream_tracker: Tracks it.
        gate: What it sends passes here.
        mailbox: Its frames.
        commands: Those to apply, oldest first.
        parked: Prompts that wait for its first frame.
        silent: Why its source gives no frames for now; "" where it may.
        pixels: Of the newest frame; 0 before the first, and after it was given up.
    """

    def __init__(
        self,
        stream_tracker: StreamTracker,
        gate: Gate,
        mailbox: Mailbox[LiveFrame],
        on_exhausted: Callable[[ExhaustedError], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.stream_tracker = stream_tracker
        self._clock = clock
        self._spent_s: dict[bytes, float] = {}
        self.gate = gate
        self.mailbox = mailbox
        self.pixels = 0
        self._on_exhausted = on_exhausted
        self.commands: deque[Waiting] = deque()
        self.parked: deque[Waiting] = deque()
        self.silent = ""
        self._failed_in_a_row = 0
        self._dropped = mailbox.dropped
        self._in_hand = 0  # frames taken and not yet tracked
        self._behind_since_s: float | None = None

    def __len__(self) -> int:
        """Commands that wait."""
        return len(self.commands) + len(self.parked)

    def status(self) -> TrackingStatus:
        """Current status; from any thread."""
        return replace(self.stream_tracker.status(), commands_waiting=len(self))

    def clear(self) -> list[Waiting]:
        """Take all commands that wait."""
        waiting = [*self.parked, *self.commands]
        self.parked.clear()
        self.commands.clear()
        return waiting

    def next_command(self) -> Waiting | None:
        """Take a command to apply; those that must wait for a frame are parked."""
        if self._is_overdue:
            return None
        while self.commands:
            waiting = self._first_by_turn()
            self.commands.remove(waiting)
            if not self._holds(waiting):
                return waiting
            self.parked.append(waiting)
        self._spent_s.clear()
        return None

    def waiting_of(self, client: bytes) -> int:
        """Commands of one client that wait."""
        return sum(one.client == client for one in (*self.commands, *self.parked))

    def _first_by_turn(self) -> Waiting:
        """The oldest command of the client whose commands took least."""
        return min(self.commands, key=lambda one: self._spent_s.get(one.client, 0.0))

    def release(self) -> None:
        """Put the parked prompts whose wait is over before the other commands."""
        over = [waiting for waiting in self.parked if not self._holds(waiting)]
        for waiting in reversed(over):
            self.parked.remove(waiting)
            self.commands.appendleft(waiting)

    def _holds(self, waiting: Waiting) -> bool:
        """True if a command waits for a frame that may still come."""
        if waiting.future.cancelled() or not self.stream_tracker.waits(waiting.command):
            return False
        may_come = not self.silent or len(self.mailbox) > 0 or self._in_hand > 0
        return may_come and time.monotonic() < waiting.until_s

    def take(self) -> "Taken | None":
        """Take a frame to track; None where there is none."""
        live = self.mailbox.get()
        if live is None:
            return None
        self._in_hand += 1
        return Taken(self, live, self.mailbox.dropped)

    def track(self, live: LiveFrame, dropped: int) -> ExhaustedError | None:
        """Track a frame that was taken; one that fails is skipped and counted.

        Returns:
            The limit of the system that it met, if it did.
        """
        self._in_hand -= 1
        self.pixels = live.frame.image.shape[0] * live.frame.image.shape[1]
        try:
            tracked = self.stream_tracker.track(live, dropped=dropped - self._dropped)
            self._dropped = dropped
            self.gate.tracked(tracked)
        except Exception as err:
            self.stream_tracker.counts.failed += 1
            limit = exhausted(err)
            if limit is not None:
                return limit
            self._failed_in_a_row += 1
            # The 1st, 2nd, 4th, 8th ... in a row: an error on every frame does not fill the disk.
            if self._failed_in_a_row.bit_count() == 1:
                seq, count = live.frame.seq, self._failed_in_a_row
                text = "stream %s: frame %d could not be tracked, %d in a row"
                _LOG.exception(text, self.stream_tracker.stream, seq, count)
        else:
            self._failed_in_a_row = 0
        return None

    @property
    def is_behind(self) -> bool:
        """True if its tracker is to replay frames before it takes new ones."""
        return self._behind_since_s is not None

    def replay_next(self) -> None:
        """Track an object whose replay was deferred on one frame more."""
        try:
            self.stream_tracker.replay_next()
        except Exception:
            _LOG.exception("stream %s: an object was not replayed", self.stream_tracker.stream)
        self._note_behind()

    @property
    def _is_overdue(self) -> bool:
        since_s = self._behind_since_s
        return since_s is not None and self._clock() - since_s > BEHIND_S

    def _note_behind(self) -> None:
        if not self.stream_tracker.is_behind:
            self._behind_since_s = None
        elif self._behind_since_s is None:
            self._behind_since_s = self._clock()

    def give_up(self, limit: ExhaustedError) -> None:
        """Let its source be closed, since its frames need more than the system gives."""
        self.pixels = 0
        self._on_exhausted(limit)

    def apply(self, waiting: Waiting, pause: Callable[[], None]) -> None:
        """Do a command, unless nobody waits for it; `pause` as in `StreamTracker.apply`."""
        if not waiting.future.set_running_or_notify_cancel():
            return
        begun_s = self._clock()
        self._do(waiting, pause)
        self._note_behind()
        if len(self._spent_s) >= _CLIENTS_COUNTED:
            self._spent_s.clear()
        spent_s = self._clock() - begun_s
        self._spent_s[waiting.client] = self._spent_s.get(waiting.client, 0.0) + spent_s

    def _do(self, waiting: Waiting, pause: Callable[[], None]) -> None:
        try:
            result = self.stream_tracker.apply(waiting.command, pause)
            if isinstance(waiting.command, SaveCommand) and waiting.command.last:
                self.gate.close()
        except RequestError as err:
            no_frame = err.code is ErrorCode.NO_FRAME
            refused = self._no_frame(waiting.command) or err if no_frame else err
            waiting.future.set_exception(refused)
        except Exception as err:
            limit = exhausted(err)
            if limit is not None:
                refused = RequestError(ErrorCode.LIMIT, limit.message, limit.hint)
                waiting.future.set_exception(refused)
                return
            name = type(waiting.command).__name__
            _LOG.exception("stream %s: %s failed", self.stream_tracker.stream, name)
            stream = self.stream_tracker.stream
            text = f"stream {stream}: the command failed by an error of the daemon's own"
            refused = RequestError(ErrorCode.INTERNAL, text, "its log tells more")
            waiting.future.set_exception(refused)
        else:
            waiting.future.set_result(result)

    def _no_frame(self, command: Command) -> RequestError | None:
        """Say more about a prompt on a stream without a frame, where more is known."""
        name = self.stream_tracker.stream
        if self.silent:
            text = f"stream {name} gives no frame to prompt on: {self.silent}"
            return RequestError(ErrorCode.NO_FRAME, text)
        if isinstance(command, PromptCommand) and command.wait_s:
            text = f"stream {name} gave no frame to prompt on within {command.wait_s:g} s"
            return RequestError(
                ErrorCode.NO_FRAME, text, "wait longer, or look at the list of streams"
            )
        return None


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame out of its mailbox, and how many of its stream had been dropped by then."""

    slot: Slot
    live: LiveFrame
    dropped: int


def next_deadline_s(slots: Iterator[Slot]) -> float | None:
    """Monotonic time at which the first parked prompt has waited long enough; None for none."""
    return min((one.until_s for slot in slots for one in slot.parked), default=None)
