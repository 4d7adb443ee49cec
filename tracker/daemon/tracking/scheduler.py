"""Scheduler: the thread that owns the model and tracks all streams in turns."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from streams.mailbox import Mailbox
from tracker.daemon.control.asking import ASKING
from tracker.daemon.messages import Command, Event, LiveFrame, RequestError, Tracked
from tracker.daemon.telemetry.activity import Activity
from tracker.daemon.tracking.slot import Gate, Slot, Taken, Waiting, next_deadline_s
from tracker.daemon.tracking.stream_tracker import CommandResult, StreamTracker
from tracker.engine import Policy
from tracker.exhausted import ExhaustedError
from tracker.helper import helper_thread
from tracker.models import Model
from tracker.protocol.fields import StreamSettings
from tracker.protocol.replies import ErrorCode

__all__ = ["CommandResult", "Scheduler"]

#: After so long with commands alone a frame has its turn.
COMMANDS_TURN_S = 0.25
#: Seconds between two streams that are given up for want of memory.
GIVE_UP_EVERY_S = 5.0


class Scheduler:
    """Tracks all streams in one thread, in turns.

    A turn applies waiting commands, one stream after the other, then tracks one frame of the next
    stream that has one. Where a prompt on an older frame was answered with its mask alone, that
    stream's turns replay the frames since, one each, before it has new ones. Results and events of
    a stream end with its removal.

    What a stream's commands cost is its own. Between two of them, and between two frames on which a
    correction tracks an object again, each other stream may have one of its frames tracked.

    Where another frame waits when a turn comes to its frame, it is taken too and encoded meanwhile
    (`StreamTracker.prefetches`); the next turn tracks it, also where newer ones came: it is ready,
    and the newer one will be encoded while it is tracked. Nothing waits where the tracker keeps up.

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
            commands_queued: Commands that may wait for one stream; a client may have half of these.
            on_tracked: Takes tracked frames; called by the scheduler's thread, must not wait.
            on_event: Takes what happens to objects; likewise.
            between_frames: Called by the scheduler's thread before each frame, must not wait.
        """
        self.activity = Activity()
        self._model = model
        self._policy = policy
        self._commands_queued = commands_queued
        self._most_of_one = max(1, commands_queued // 2)
        self._on_tracked = on_tracked
        self._on_event = on_event
        self._between_frames = between_frames
        self._lock = threading.Lock()
        self._frame_turns: list[Slot] = []  # all; whose turn was longest ago comes first
        self._command_turns: list[Slot] = []
        self._helper = helper_thread()
        self._ahead: Taken | None = None  # belongs to the thread
        self._gave_up_s = -math.inf  # when the newest stream was given up
        self._work = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    @property
    def healthy(self) -> bool:
        """True if its thread runs."""
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
            waiting = [one for slot in self._frame_turns for one in slot.clear()]
        _refuse(waiting, _shutting_down())
        return not self._thread.is_alive()

    def add(
        self,
        stream: str,
        settings: StreamSettings,
        mailbox: Mailbox[LiveFrame],
        *,
        on_exhausted: Callable[[ExhaustedError], None] = lambda _: None,
    ) -> Slot:
        """Track a stream, under a name that no other has.

        Args:
            stream: Its name.
            settings: Of its source.
            mailbox: Where its frames are.
            on_exhausted: Called where its frames, the largest, need more than the system gives;
                must not wait.

        Returns:
            What names it to the other methods.
        """
        gate = Gate(self._on_tracked, self._on_event)
        stream_tracker = StreamTracker(
            stream,
            settings,
            self._model,
            self._policy,
            helper=self._helper,
            on_event=gate.event,
        )
        slot = Slot(stream_tracker, gate, mailbox, on_exhausted)
        with self._lock:
            self._frame_turns.append(slot)
            self._command_turns.append(slot)
        self._work.set()
        return slot

    def remove(self, slot: Slot) -> None:
        """Forget a stream and its objects; its waiting commands fail with UNKNOWN_STREAM.

        When this returns, nothing of it is sent any more.
        """
        with self._lock:
            self._frame_turns.remove(slot)
            self._command_turns.remove(slot)
            waiting = slot.clear()
        slot.gate.close()
        _refuse(waiting, _removed(slot))

    def wake(self) -> None:
        """Say that a frame is there; from any thread, never waits."""
        self._work.set()

    def silence(self, slot: Slot, why: str) -> None:
        """Say why a source gives no frames for now, "" where it does; from any thread.

        No prompt waits for a first frame that is not to come.
        """
        slot.silent = why
        self._work.set()

    def submit(self, slot: Slot, command: Command) -> "Future[CommandResult]":
        """Queue a command; it is applied between two frames, and while none come too.

        A prompt may wait for the first frame of its stream, and lets others overtake it then.

        Returns:
            What `StreamTracker.apply` will return, or `RequestError`; a cancelled future is not
            applied. Its callbacks run in the scheduler's thread and must not wait.

        Raises:
            RequestError: UNKNOWN_STREAM, BUSY (also while it is moved) or SHUTTING_DOWN.
        """
        waiting = Waiting.of(command, ASKING.get())
        with self._lock:
            if self._stopping:
                raise _shutting_down()
            if slot not in self._frame_turns:
                raise _removed(slot)
            if not slot.gate.is_open:
                raise _moving(slot)
            stream = slot.stream_tracker.stream
            if len(slot) >= self._commands_queued:
                raise RequestError(
                    ErrorCode.BUSY,
                    f"{len(slot)} commands wait for stream {stream}, as many as are allowed",
                    "wait for their replies, or raise limits.commands_queued",
                )
            if waiting.client and slot.waiting_of(waiting.client) >= self._most_of_one:
                raise RequestError(
                    ErrorCode.BUSY,
                    f"{self._most_of_one} commands of this client wait for stream {stream}, half "
                    "of what is allowed to all",
                    "wait for their replies, or raise limits.commands_queued",
                )
            slot.commands.append(waiting)
        self._work.set()
        return waiting.future

    def _run(self) -> None:
        while not self._stopping:
            self._work.wait(self._patience_s())
            self._work.clear()  # before looking, so that what comes meanwhile wakes it again
            while not self._stopping and self._turn():
                pass
            self.activity.end()

    def _patience_s(self) -> float | None:
        """Longest wait unless something comes; None: for ever."""
        with self._lock:
            deadline_s = next_deadline_s(iter(self._frame_turns))
        return None if deadline_s is None else max(0.0, deadline_s - time.monotonic())

    def _turn(self) -> bool:
        """Apply commands, then replay or track a frame; False where there was nothing to do."""
        with self._lock:
            for slot in self._frame_turns:
                slot.release()
        applied = self._apply_commands()
        self.activity.begin()
        return self._replay_next() or self._track_next() or applied

    def _apply_commands(self) -> bool:
        begun_s = time.monotonic()
        applied = False
        while not self._stopping and time.monotonic() - begun_s < COMMANDS_TURN_S:
            found = self._next_command()
            if found is None:
                break
            slot, waiting = found
            self.activity.begin()
            slot.apply(waiting, partial(self._let_others, slot))
            if not slot.gate.is_open:
                self._refuse_waiting(slot)
            self._let_others(slot)
            applied = True
        return applied

    def _refuse_waiting(self, slot: Slot) -> None:
        """Refuse the commands of a stream that was saved: they would be lost."""
        with self._lock:
            waiting = slot.clear()
        _refuse(waiting, _moving(slot))

    def _let_others(self, slot: Slot) -> None:
        """Track a frame of each other stream that has one."""
        with self._lock:
            others = [one for one in self._frame_turns if one is not slot and not one.is_behind]
        for other in others:
            taken = self._take_of(other)
            if taken is not None:
                self.activity.begin()
                other.track(taken.live, taken.dropped)

    def _take_of(self, slot: Slot) -> Taken | None:
        """Take the next frame of one stream: that which is encoded ahead, or out of its mailbox."""
        if self._ahead is not None and self._ahead.slot is slot:
            taken, self._ahead = self._ahead, None
            return taken if self._is_here(slot) else None
        return self._next_of(slot)

    def _next_of(self, slot: Slot) -> Taken | None:
        """Take the next frame out of a stream's mailbox; its turn is over then."""
        taken = slot.take()
        if taken is not None:
            with self._lock:
                _to_the_end(self._frame_turns, slot)
        return taken

    def _next_command(self) -> tuple[Slot, Waiting] | None:
        with self._lock:
            for slot in self._command_turns:
                waiting = slot.next_command()
                if waiting is not None:
                    _to_the_end(self._command_turns, slot)
                    return slot, waiting
        return None

    def _replay_next(self) -> bool:
        """Replay a frame for a prompt that was answered already; False where there is none."""
        with self._lock:
            slot = next((one for one in self._frame_turns if one.is_behind), None)
            if slot is None:
                return False
            _to_the_end(self._frame_turns, slot)
        slot.replay_next()
        self._let_others(slot)
        return True

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
            self._ahead.slot.stream_tracker.prefetch(self._ahead.live)
        limit = taken.slot.track(taken.live, taken.dropped)
        if limit is not None:
            self._give_up_largest(limit)
        return True

    def _give_up_largest(self, limit: ExhaustedError) -> None:
        """Give up the stream of the largest frames, whichever met the limit: the others go on."""
        now_s = time.monotonic()
        if now_s - self._gave_up_s < GIVE_UP_EVERY_S:
            return  # what the one before held is not free yet
        self._gave_up_s = now_s
        with self._lock:
            slots = list(self._frame_turns)
        if slots:
            max(slots, key=lambda slot: slot.pixels).give_up(limit)

    def _take(self, *, ahead: bool = False) -> Taken | None:
        """Take the frame whose turn is next; one to encode `ahead` only where that is wanted."""
        with self._lock:
            slots = list(self._frame_turns)
        for slot in slots:
            if len(slot.mailbox) and ahead and not slot.stream_tracker.prefetches:
                return None
            taken = self._next_of(slot)
            if taken is not None:
                return taken
        return None

    def _is_here(self, slot: Slot) -> bool:
        with self._lock:
            return slot in self._frame_turns


def _to_the_end(turns: list[Slot], slot: Slot) -> None:
    if slot in turns:  # else it was removed meanwhile
        turns.remove(slot)
        turns.append(slot)


def _refuse(waiting: list[Waiting], refused: RequestError) -> None:
    for one in waiting:
        if one.future.set_running_or_notify_cancel():
            one.future.set_exception(refused)


def _removed(slot: Slot) -> RequestError:
    name = slot.stream_tracker.stream
    return RequestError(ErrorCode.UNKNOWN_STREAM, f"stream {name} was removed")


def _moving(slot: Slot) -> RequestError:
    name = slot.stream_tracker.stream
    return RequestError(ErrorCode.BUSY, f"stream {name} is being moved", "try again in a moment")


def _shutting_down() -> RequestError:
    return RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
