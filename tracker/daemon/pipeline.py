"""The thread that owns the model: frames of all streams in, tracked frames and events out."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from streams.mailbox import Mailbox
from tracker.daemon.activity import Activity
from tracker.daemon.lane import CommandResult, Lane
from tracker.daemon.lane_status import LaneStatus
from tracker.daemon.values import Command, Event, LiveFrame, Refused, Tracked
from tracker.engine import Policy
from tracker.helper import helper_thread
from tracker.models import Model
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode

__all__ = ["CommandResult", "LaneStatus", "Pipeline"]

#: After so long with commands alone a frame has its turn.
COMMANDS_TURN_S = 0.25

_LOG = logging.getLogger("trackd.pipeline")


@dataclass(frozen=True, slots=True)
class _Waiting:
    command: Command
    future: "Future[CommandResult]"


class _Gate:
    """What a stream sends passes here until it is removed; nothing does afterwards."""

    def __init__(
        self, on_tracked: Callable[[Tracked], None], on_event: Callable[[Event], None]
    ) -> None:
        self._on_tracked = on_tracked
        self._on_event = on_event
        self._lock = threading.Lock()
        self._open = True

    def tracked(self, tracked: Tracked) -> None:
        with self._lock:
            if self._open:
                self._on_tracked(tracked)

    def event(self, event: Event) -> None:
        with self._lock:
            if self._open:
                self._on_event(event)

    def close(self) -> None:
        with self._lock:
            self._open = False


class _Slot:
    """A stream in the pipeline: its lane, its frames, and the commands that wait for it."""

    def __init__(self, lane: Lane, gate: _Gate, mailbox: Mailbox[LiveFrame]) -> None:
        self.lane = lane
        self.gate = gate
        self.mailbox = mailbox
        self.commands: deque[_Waiting] = deque()
        self.failed = 0
        self._failed_in_a_row = 0
        self._dropped = mailbox.dropped

    def take(self) -> "_Taken | None":
        """Take a frame to track; None where there is none."""
        live = self.mailbox.get()
        return None if live is None else _Taken(self, live, self.mailbox.dropped)

    def track(self, live: LiveFrame, dropped: int) -> None:
        """Track a frame that was taken; one that fails is skipped and counted."""
        try:
            tracked = self.lane.track(live, dropped=dropped - self._dropped)
            self._dropped = dropped
            self.gate.tracked(tracked)
        except Exception:
            self.failed += 1
            self._failed_in_a_row += 1
            # The 1st, 2nd, 4th, 8th ... in a row: an error on every frame does not fill the disk.
            if self._failed_in_a_row.bit_count() == 1:
                seq, count = live.frame.seq, self._failed_in_a_row
                text = "stream %s: frame %d could not be tracked, %d in a row"
                _LOG.exception(text, self.lane.stream, seq, count)
        else:
            self._failed_in_a_row = 0

    def apply(self, waiting: _Waiting) -> None:
        """Do a command, unless nobody waits for it any more."""
        if not waiting.future.set_running_or_notify_cancel():
            return
        try:
            result = self.lane.apply(waiting.command)
        except Refused as err:
            waiting.future.set_exception(err)
        except Exception:
            name = type(waiting.command).__name__
            _LOG.exception("stream %s: %s failed", self.lane.stream, name)
            text = f"stream {self.lane.stream}: the command failed by an error of the daemon's own"
            refused = Refused(ErrorCode.INTERNAL, text, "its log tells more")
            waiting.future.set_exception(refused)
        else:
            waiting.future.set_result(result)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A frame out of its mailbox, and how many of its stream had been dropped by then."""

    slot: _Slot
    live: LiveFrame
    dropped: int


class Pipeline:
    """Tracks all streams in one thread, in turns.

    A turn applies waiting commands, one stream after the other, then tracks one frame of the next
    stream that has one. Results and events of a stream end with its removal.

    Where another frame waits when a turn comes to its frame, it is taken too and encoded meanwhile
    (`Lane.looks_ahead`); the next turn tracks it, also where newer ones came: it is ready, and the
    newer one will be encoded while it is tracked. Nothing waits where the tracker keeps up.

    Attributes:
        activity: Of its thread; a piece of work is a frame or a command.
    """

    def __init__(
        self,
        model: Model,
        policy: Policy,
        *,
        commands_queued: int,
        on_tracked: Callable[[Tracked], None],
        on_event: Callable[[Event], None],
        between_frames: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it, without streams.

        Args:
            model: What tracks.
            policy: Of every stream's session.
            commands_queued: Commands that may wait for one stream.
            on_tracked: Takes tracked frames; called by the pipeline's thread, must not wait.
            on_event: Takes what happens to objects; likewise.
            between_frames: Called by the pipeline's thread before each frame, must not wait.
        """
        self.activity = Activity()
        self._model = model
        self._policy = policy
        self._commands_queued = commands_queued
        self._on_tracked = on_tracked
        self._on_event = on_event
        self._between_frames = between_frames
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        self._frame_turns: list[_Slot] = []  # whose turn was longest ago comes first
        self._command_turns: list[_Slot] = []
        self._helper = helper_thread()
        self._ahead: _Taken | None = None  # belongs to the thread
        self._work = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tracker", daemon=True)

    @property
    def healthy(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread. Streams and commands may be there before."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Take no more, end after the frame or command in progress, refuse what waits.

        Returns:
            False where the thread still ran after `timeout_s`.
        """
        with self._lock:
            self._stopping = True
        self._work.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._helper is not None:
            self._helper.close()
        with self._lock:
            waiting = [one for slot in self._slots.values() for one in _take_all(slot)]
        _refuse(waiting, _shutting_down())
        return not self._thread.is_alive()

    def add(self, stream: str, settings: StreamSettings, mailbox: Mailbox[LiveFrame]) -> None:
        """Track a stream.

        Raises:
            Refused: STREAM_EXISTS.
        """
        gate = _Gate(self._on_tracked, self._on_event)
        lane = Lane(
            stream,
            settings,
            self._model,
            self._policy,
            helper=self._helper,
            on_event=gate.event,
        )
        slot = _Slot(lane, gate, mailbox)
        with self._lock:
            if stream in self._slots:
                raise Refused(ErrorCode.STREAM_EXISTS, f"there is a stream {stream} already")
            self._slots[stream] = slot
            self._frame_turns.append(slot)
            self._command_turns.append(slot)
        self._work.set()

    def remove(self, stream: str) -> None:
        """Forget a stream and its objects; its waiting commands fail with UNKNOWN_STREAM.

        When this returns, nothing of it is sent any more.

        Raises:
            Refused: UNKNOWN_STREAM.
        """
        with self._lock:
            slot = self._slot(stream)
            del self._slots[stream]
            self._frame_turns.remove(slot)
            self._command_turns.remove(slot)
            waiting = _take_all(slot)
        slot.gate.close()
        _refuse(waiting, Refused(ErrorCode.UNKNOWN_STREAM, f"stream {stream} was removed"))

    def wake(self) -> None:
        """Say that a frame is there; from any thread, never waits."""
        self._work.set()

    def submit(self, stream: str, command: Command) -> "Future[CommandResult]":
        """Queue a command; it is applied between two frames, and while none come too.

        Returns:
            What `Lane.apply` will return, or `Refused`; a cancelled future is not applied. Its
            callbacks run in the pipeline's thread and must not wait.

        Raises:
            Refused: UNKNOWN_STREAM, BUSY or SHUTTING_DOWN.
        """
        future: Future[CommandResult] = Future()
        with self._lock:
            if self._stopping:
                raise _shutting_down()
            slot = self._slot(stream)
            if len(slot.commands) >= self._commands_queued:
                raise Refused(
                    ErrorCode.BUSY,
                    f"{len(slot.commands)} commands wait for stream {stream}, as many as are "
                    "allowed",
                    "wait for their replies, or raise limits.commands_queued",
                )
            slot.commands.append(_Waiting(command, future))
        self._work.set()
        return future

    def status(self, stream: str) -> LaneStatus:
        """How a stream stands; from any thread.

        Raises:
            Refused: UNKNOWN_STREAM.
        """
        with self._lock:
            slot = self._slot(stream)
            waiting = len(slot.commands)
        return slot.lane.status(failed=slot.failed, commands_waiting=waiting)

    def _slot(self, stream: str) -> _Slot:
        slot = self._slots.get(stream)
        if slot is None:
            known = ", ".join(self._slots)
            hint = f"there are {known}" if known else "add it first"
            raise Refused(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}", hint)
        return slot

    def _run(self) -> None:
        while not self._stopping:
            self._work.wait()
            self._work.clear()  # before looking, so that what comes meanwhile wakes it again
            while not self._stopping and self._turn():
                pass
            self.activity.end()

    def _turn(self) -> bool:
        """Apply commands, then track a frame; False where there was nothing to do."""
        applied = self._apply_commands()
        self.activity.begin()
        return self._track_next() or applied

    def _apply_commands(self) -> bool:
        begun_s = time.monotonic()
        applied = False
        while not self._stopping and time.monotonic() - begun_s < COMMANDS_TURN_S:
            found = self._next_command()
            if found is None:
                break
            slot, waiting = found
            self.activity.begin()
            slot.apply(waiting)
            applied = True
        return applied

    def _next_command(self) -> tuple[_Slot, _Waiting] | None:
        with self._lock:
            for slot in self._command_turns:
                if slot.commands:
                    _to_the_end(self._command_turns, slot)
                    return slot, slot.commands.popleft()
        return None

    def _track_next(self) -> bool:
        """Track a frame of the stream that waited longest for its turn and has one."""
        taken, self._ahead = self._ahead, None
        if taken is None or not self._is_here(taken.slot):
            taken = self._take()
        if taken is None:
            return False
        self._between_frames()
        self._ahead = self._take(ahead=True)
        if self._ahead is not None:
            self._ahead.slot.lane.look_ahead(self._ahead.live)
        taken.slot.track(taken.live, taken.dropped)
        return True

    def _take(self, *, ahead: bool = False) -> _Taken | None:
        """Take the frame whose turn is next; one to encode `ahead` only where that is wanted."""
        with self._lock:
            slots = list(self._frame_turns)
        for slot in slots:
            if len(slot.mailbox) and ahead and not slot.lane.looks_ahead:
                return None
            taken = slot.take()
            if taken is not None:
                with self._lock:
                    _to_the_end(self._frame_turns, slot)
                return taken
        return None

    def _is_here(self, slot: _Slot) -> bool:
        with self._lock:
            return slot in self._frame_turns


def _to_the_end(turns: list[_Slot], slot: _Slot) -> None:
    if slot in turns:  # else it was removed meanwhile
        turns.remove(slot)
        turns.append(slot)


def _take_all(slot: _Slot) -> list[_Waiting]:
    waiting = list(slot.commands)
    slot.commands.clear()
    return waiting


def _refuse(waiting: list[_Waiting], refused: Refused) -> None:
    for one in waiting:
        if one.future.set_running_or_notify_cancel():
            one.future.set_exception(refused)


def _shutting_down() -> Refused:
    return Refused(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
