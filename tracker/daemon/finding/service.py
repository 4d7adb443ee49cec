"""Finding: the thread that has finders look at live streams, and answers what is asked of them."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass, replace

from tracker.daemon.config.schema import ModelConfig, RetryConfig
from tracker.daemon.control.asking import ASKING
from tracker.daemon.finding.choice import ChosenFinder, asked_finder, choose_finder
from tracker.daemon.finding.messages import Found, FoundItem
from tracker.daemon.finding.process import FinderLostError, FinderProcess
from tracker.daemon.finding.stream_finder import StreamFinder, Submit
from tracker.daemon.futures import after, finished
from tracker.daemon.messages import (
    Event,
    FindCommand,
    LiveFrame,
    PromptCommand,
    RequestError,
    Tracked,
)
from tracker.daemon.sources.backoff import Backoff
from tracker.daemon.telemetry.status import FindingStatus
from tracker.daemon.tracking.stream_tracker import CommandResult
from tracker.errors import FinderError, TrackdError, UsageError
from tracker.protocol.fields import FindSettings, FrameAddress
from tracker.protocol.replies import ErrorCode, FindResult, ProposalInfo

#: Requests that may wait for a finder, of all streams and clients, and of one client.
MAX_WAITING = 8
MAX_WAITING_OF_ONE = 4
_LOG = logging.getLogger("trackd.finder")
_RETRY = RetryConfig(first_s=0.5, longest_s=60.0, healthy_s=60.0)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Proposals of a finder on a frame."""

    finder: ChosenFinder
    live: LiveFrame
    found: Found
    took_s: float


@dataclass(frozen=True, slots=True)
class _Question:
    """A request that waits for a finder, or until `until_s` for the first frame of its stream."""

    stream: str
    finder: ChosenFinder
    frame: FrameAddress | None
    until_s: float
    client: bytes
    future: "Future[_Answer]"


class Finding:
    """Finders of a worker's streams, in one process of their own.

    A thread looks at one picture at a time: requests and streams in turns, of the streams the one
    whose turn was longest ago. Of a stream the newest frame waits, no more. Nobody waits for the
    thread but those who ask; a finder that raises rests for a while, and a process that hangs or
    ends is started again, each with a backoff.

    Args:
        model: The one that tracks, for finders that use it.
        start: Starts the process.

    Attributes:
        restarts: Times that the process was ended since it hung, or ended by itself.
    """

    def __init__(
        self,
        model: ModelConfig,
        *,
        start: Callable[[ModelConfig], FinderProcess] = FinderProcess,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.restarts = 0
        self._model = model
        self._start_process = start
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows
        self._work = threading.Condition(self._lock)
        self._streams: dict[str, StreamFinder] = {}
        self._questions: list[_Question] = []
        self._forgotten: set[str] = set()  # streams that the process is yet to forget
        self._thread: threading.Thread | None = None
        self._process: FinderProcess | None = None
        self._stopping = False
        self._streams_turn = False  # the rest belongs to the thread
        self._backoff = Backoff(_RETRY)
        self._process_from_s = 0.0
        self._started_s = 0.0

    def add(
        self,
        stream: str,
        find: FindSettings | None,
        *,
        trusted: bool,
        submit: Submit,
        on_event: Callable[[Event], None],
    ) -> None:
        """Take a stream, and look at it if it has a finder.

        Args:
            stream: Its name.
            find: Its settings; None for none.
            trusted: As in `choose_finder`.
            submit: Queues a command for its tracker.
            on_event: Takes events; must not wait.

        Raises:
            UsageError: Its settings do not fit; see `choose_finder`.
            RuntimeError: The system gives no thread.
        """
        finder = None if find is None else choose_finder(find, trusted=trusted)
        one = StreamFinder(stream, finder, submit=submit, on_event=on_event, clock=self._clock)
        with self._lock:
            if finder is not None:
                self._begin()
            self._streams[stream] = one

    def remove(self, stream: str) -> None:
        """Forget a stream; what is asked about it fails."""
        with self._lock:
            if self._streams.pop(stream, None) is None:
                return
            if self._process is not None:
                self._forgotten.add(stream)
            gone = [one for one in self._questions if one.stream == stream]
            self._questions = [one for one in self._questions if one.stream != stream]
        for question in gone:
            _fail(question, _unknown(stream))

    def after(self, on_tracked: Callable[[Tracked], None]) -> Callable[[Tracked], None]:
        """A function that passes a tracked frame to `on_tracked`, and takes it in."""

        def pass_on(tracked: Tracked) -> None:
            on_tracked(tracked)
            self.tracked(tracked)

        return pass_on

    def tracked(self, tracked: Tracked) -> None:
        """Take in a tracked frame; called by the thread that tracks, never waits."""
        with self._lock:
            one = self._streams.get(tracked.stream)
            if one is not None and (one.offer(tracked) or self._questions):
                self._work.notify()

    def status(self, stream: str) -> FindingStatus | None:
        """Status of a stream's finder; None where it has none. From any thread."""
        with self._lock:
            one = self._streams.get(stream)
        return None if one is None else one.status()

    def find(self, stream: str, command: FindCommand) -> "Future[FindResult]":
        """Proposals on a frame; done when a finder has looked at it.

        Raises:
            RequestError: UNKNOWN_STREAM, BAD_REQUEST for a finder that cannot be asked this, BUSY;
                the future fails with NO_FRAME, FRAME_GONE or FINDER.
        """
        asked = self._ask(stream, command.finder, command.text, command.frame, command.wait_s)
        return after(asked, lambda answer: finished(_result(answer, command)), cancellable=True)

    def prompt(self, stream: str, command: PromptCommand) -> "Future[CommandResult]":
        """Prompt with the best proposal for a text; as `find`, or BAD_PROMPT for no proposal."""
        asked = self._ask(stream, command.finder, command.text, command.frame, command.wait_s)
        submit, client = self._stream(stream).submit, copy_context()
        return after(
            asked, lambda answer: client.run(submit, _drawn(command, answer)), cancellable=True
        )

    def stop(self, timeout_s: float) -> bool:
        """End the process and the thread; False where that hangs."""
        with self._lock:
            self._stopping = True
            questions, self._questions = self._questions, []
            process, thread = self._process, self._thread
            self._work.notify()
        for question in questions:
            _fail(question, RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down"))
        if process is not None:
            process.kill()
        if thread is not None:
            thread.join(max(0.0, timeout_s))
        return thread is None or not thread.is_alive()

    def _ask(
        self,
        stream: str,
        name: str | None,
        text: str | None,
        frame: FrameAddress | None,
        wait_s: float,
    ) -> "Future[_Answer]":
        try:
            finder = asked_finder(name, text, self._stream(stream).finder)
            if finder.spec.every_frame and frame is not None:
                raise UsageError(
                    f"finder {finder.spec.name} learns from each frame in order",
                    "ask it about the newest, without a frame",
                )
        except UsageError as err:
            raise RequestError(ErrorCode.BAD_REQUEST, err.message, err.hint) from err
        client, until_s = ASKING.get(), self._clock() + wait_s
        question = _Question(stream, finder, frame, until_s, client, Future())
        with self._lock:
            self._check_room(stream, client)
            try:
                self._begin()
            except RuntimeError as err:
                raise RequestError(ErrorCode.LIMIT, "the system gives no more threads") from err
            self._questions.append(question)
            self._work.notify()
        return question.future

    def _check_room(self, stream: str, client: bytes) -> None:
        if self._stopping:
            raise RequestError(ErrorCode.SHUTTING_DOWN, "the daemon is shutting down")
        if stream not in self._streams:
            raise _unknown(stream)
        self._questions = [one for one in self._questions if not one.future.cancelled()]
        of_client = sum(one.client == client for one in self._questions)
        if len(self._questions) >= MAX_WAITING or of_client >= MAX_WAITING_OF_ONE:
            raise RequestError(
                ErrorCode.BUSY,
                f"{len(self._questions)} requests wait for a finder, {of_client} of this client",
                "wait for their replies",
            )

    def _stream(self, stream: str) -> StreamFinder:
        with self._lock:
            one = self._streams.get(stream)
        if one is None:
            raise _unknown(stream)
        return one

    def _begin(self) -> None:
        """Start the thread, at the first that it is needed for; with the lock."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="finder", daemon=True)
            thread.start()
            self._thread = thread

    # --- in the thread

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._do(job)
        finally:
            self._end_process()

    def _next(self) -> "_Question | StreamFinder | None":
        """Wait for something to do; None at the end."""
        with self._lock:
            while not self._stopping:
                now_s = self._clock()
                question = next(
                    (one for one in self._questions if self._is_ready(one, now_s)), None
                )
                waiting = [one for one in self._streams.values() if one.is_waiting(now_s)]
                if question is not None and not (waiting and self._streams_turn):
                    self._questions.remove(question)
                    self._streams_turn = True
                    return question
                if waiting:
                    self._streams_turn = False
                    return min(waiting, key=lambda one: one.looked_s)
                self._work.wait(self._patience_s(now_s))
        return None

    def _is_ready(self, question: _Question, now_s: float) -> bool:
        return bool(self._streams[question.stream].pictures) or now_s >= question.until_s

    def _patience_s(self, now_s: float) -> float | None:
        """Longest wait unless something comes; None for ever."""
        rests = [one.rests_until_s for one in self._streams.values()]
        times = [at_s for at_s in rests if at_s is not None]
        times += [question.until_s for question in self._questions]
        return max(0.0, min(times) - now_s) if times else None

    def _do(self, job: "_Question | StreamFinder") -> None:
        self._forget()
        if isinstance(job, StreamFinder):
            self._look(job)
        elif job.future.set_running_or_notify_cancel():
            self._reply(job)

    def _look(self, one: StreamFinder) -> None:
        """Have a stream's finder look at its newest frame."""
        with self._lock:
            tracked, wanted = one.take()
        assert one.finder is not None
        begun_s = self._clock()
        try:
            found = self._search(one.finder, tracked.live, wanted=wanted)
            if wanted:
                one.take_in(tracked, found, self._clock() - begun_s)
        except FinderError as error:
            self._failed(one, error, begun_s)
        except Exception as err:
            _LOG.exception("stream %s: its proposals were not taken", one.stream)
            untaken = FinderError(f"its proposals were not taken: {type(err).__name__}")
            self._failed(one, untaken, begun_s)

    def _failed(self, one: StreamFinder, error: FinderError, begun_s: float) -> None:
        if not self._stopping:
            wait_s = one.failed(error, self._clock() - begun_s)
            _LOG.warning("stream %s: %s; again in %.1f s", one.stream, error, wait_s)

    def _reply(self, question: _Question) -> None:
        try:
            one = self._stream(question.stream)
            with self._lock:
                live = one.pictures.find(question.frame)
            begun_s = self._clock()
            found = self._search(question.finder, live, wanted=True)
            answer = _Answer(question.finder, live, found, self._clock() - begun_s)
        except TrackdError as err:
            refused = RequestError(ErrorCode.FINDER, err.message, err.hint)
            question.future.set_exception(refused)
        except Exception as err:
            question.future.set_exception(err)
        else:
            question.future.set_result(answer)

    def _search(self, finder: ChosenFinder, live: LiveFrame, *, wanted: bool) -> Found:
        """Ask the process, which is started where there is none.

        Raises:
            FinderError: It raised, or the process cannot be asked; that is ended then.
        """
        process = self._running()
        try:
            return process.search(finder, live.frame.image, owner=live.frame.stream, wanted=wanted)
        except FinderLostError:
            self._lost(process)
            raise
        except FinderError:
            raise
        except Exception as err:  # such as no memory for the picture: who knows what it was told
            _LOG.exception("finder %s could not be asked", finder.spec.name)
            self._lost(process)
            name = finder.spec.name
            raise FinderError(f"finder {name} could not be asked: {type(err).__name__}") from err

    def _lost(self, process: FinderProcess) -> None:
        """End a process that is of no more use; another is started after a while."""
        process.kill(stacks=True)
        self._end_process()
        self.restarts += 1
        wait_s = self._backoff.failed(self._clock() - self._started_s)
        self._process_from_s = self._clock() + wait_s

    def _running(self) -> FinderProcess:
        if self._process is not None:
            return self._process
        left_s = self._process_from_s - self._clock()
        if left_s > 0:
            raise FinderError("the finder process ended", f"it is started again in {left_s:.1f} s")
        self._started_s = self._clock()
        try:
            process = self._start_process(self._model)
        except OSError as err:
            raise FinderError(f"no finder process: {err.strerror}") from err
        with self._lock:
            self._process = process
            stopping = self._stopping
        if stopping:
            raise FinderError("the daemon is shutting down")
        return process

    def _end_process(self) -> None:
        with self._lock:
            process, self._process = self._process, None
            self._forgotten.clear()
        if process is not None:
            process.close()

    def _forget(self) -> None:
        with self._lock:
            gone, self._forgotten = self._forgotten, set()
            process = self._process
        if process is not None:
            for stream in gone:
                process.forget(stream)


def _unknown(stream: str) -> RequestError:
    return RequestError(ErrorCode.UNKNOWN_STREAM, f"there is no stream {stream}")


def _fail(question: _Question, error: RequestError) -> None:
    if question.future.set_running_or_notify_cancel():
        question.future.set_exception(error)


def _result(answer: _Answer, command: FindCommand) -> FindResult:
    items = [item for item in answer.found.items if item.score >= command.min_score]
    given = items[: command.max_proposals]
    return FindResult(
        finder=answer.finder.spec.name,
        frame_seq=answer.live.frame.seq,
        proposals=[
            ProposalInfo(box=one.box, score=one.score, label=one.label, area=one.area)
            for one in given
        ],
        left_out=answer.found.left_out + len(items) - len(given),
        took_s=answer.took_s,
    )


def _drawn(command: PromptCommand, answer: _Answer) -> PromptCommand:
    """The prompt with the best proposal in place of the text.

    Raises:
        RequestError: BAD_PROMPT, there is no proposal.
    """
    live = answer.live
    if not answer.found.items:
        raise RequestError(
            ErrorCode.BAD_PROMPT,
            f"nothing was found for {command.text!r} on frame {live.frame.seq}",
            "use other words, or draw a box",
        )
    best: FoundItem = answer.found.items[0]
    return replace(
        command,
        text=None,
        finder=None,
        normalized=False,
        box=best.box if best.mask is None else None,
        mask=best.mask,
        label=command.label or best.label,
        frame=FrameAddress(seq=live.frame.seq, epoch=live.epoch),
    )
