"""Worker of one project: a process that tracks it and answers drafts, as its messages ask.

    python -m tracker.project.worker FOLDER [ROOT ...]

Sources are opened under the ROOTs only, where there are any. Requests are taken between two frames,
so that a draft need not wait for the end of tracking, and a change of the prompts stops it at once.
"""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import ValidationError

from streams.access.files import FileAccess
from streams.access.hosts import HostAccess, HostRules
from streams.access.policy import SourcePolicy
from streams.errors import StreamError
from tracker.annotate.job import Tally
from tracker.annotate.plan import PromptPlan
from tracker.annotate.prompts_file import RleMask
from tracker.errors import TrackdError
from tracker.exhausted import exhausted
from tracker.process import leave_stacks, prepare_process
from tracker.project.draft import Drafts
from tracker.project.folder import Project
from tracker.project.frames import ProjectFrames
from tracker.project.messages import (
    MAX_LINE_BYTES,
    REQUEST,
    Changed,
    Draft,
    DraftMask,
    DraftRefused,
    Event,
    Request,
    Status,
    Stop,
    Track,
)
from tracker.project.pictures import Thumbnails
from tracker.project.results import ResultStore
from tracker.project.tracking import LoadedModel, ProjectTracking
from tracker.rle import encode_rle

STATUS_EVERY_S = 0.25
LOCK_WAIT_S = 30.0  # for a worker whose studio was killed to end
MAX_WAITING = 64  # requests; beyond, reading them waits
MAX_DRAFTS = 8  # that wait until tracking has reached their frames

_State = Literal["loading", "tracking", "backward", "idle", "stopped", "failed"]


class Worker:
    """Tracks a project whenever there is something to track, and answers between frames."""

    def __init__(
        self,
        tracking: ProjectTracking,
        loaded: LoadedModel,
        store: ResultStore,
        emit: Callable[[Event], None],
    ) -> None:
        """Use what was opened, the project locked; `emit` takes answers and status."""
        self._tracking = tracking
        self._store = store
        self._emit = emit
        self._requests: queue.Queue[Request | None] = queue.Queue(MAX_WAITING)
        frames = ProjectFrames(tracking.project, Thumbnails(tracking.project).times)
        self._drafts = Drafts(tracking.project, loaded, frames)
        self._plan: PromptPlan | None = None
        self._waiting: list[Draft] = []
        self._wanted = True  # nobody asked to stop
        self._changed = True
        self._ended = False
        self._failure = ""
        self._told_s = 0.0

    def run(self, requests: BinaryIO) -> None:
        """Work until the requests end."""
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        while not self._ended:
            if self._changed:
                self._reload()
            if self._wanted and not self._failure and not self._tracking.is_done:
                self._track()
            elif not self._changed:
                self._answer_drafts(is_at_rest=True)
                self._tell(self._resting)
                self._take(self._requests.get())

    @property
    def _resting(self) -> _State:
        if self._failure:
            return "failed"
        return "idle" if self._tracking.is_done else "stopped"

    def _read(self, requests: BinaryIO) -> None:
        """Queue what is asked, until the end of the input."""
        while line := requests.readline(MAX_LINE_BYTES):
            try:
                self._requests.put(REQUEST.validate_json(line))
            except ValidationError as error:
                print(f"worker: no request: {error.error_count()} faults", file=sys.stderr)
        self._requests.put(None)

    def _take(self, request: Request | None) -> None:
        match request:
            case None:
                self._ended = True
            case Changed():
                self._changed = True
            case Track():
                self._wanted = self._changed = True
            case Stop():
                self._wanted = False
            case Draft():
                self._waiting.append(request)

    def _reload(self) -> None:
        """Read the prompts again."""
        self._changed, self._failure = False, ""
        self._drafts.forget()
        try:
            self._plan = self._tracking.plan()
        except (TrackdError, StreamError) as error:
            self._failure = str(error)

    def _track(self) -> None:
        try:
            self._tracking.track(
                on_forward=lambda tally: self._progress("tracking", tally),
                on_backward=lambda tally: self._progress("backward", tally),
                stop_asked=self._stop_asked,
            )
        except (TrackdError, StreamError) as error:
            self._failure = str(error)

    def _stop_asked(self) -> bool:
        """Take what was asked meanwhile; True if tracking must not go on as it is."""
        while not self._requests.empty():
            self._take(self._requests.get())
        self._changed = self._changed and not self._is_renamed()
        stops = self._ended or self._changed or not self._wanted
        if not stops:
            self._answer_drafts(is_at_rest=False)
        return stops

    def _is_renamed(self) -> bool:
        """True if names alone have changed, which tracking goes on with."""
        try:
            return self._tracking.note_names()
        except (TrackdError, StreamError):
            return False  # `_reload` says what is wrong

    def _answer_drafts(self, *, is_at_rest: bool) -> None:
        """Answer the drafts whose frames are reached, and the oldest where too many wait.

        All are, where tracking is at rest: those of frames that it has not reached are refused.
        """
        waiting, self._waiting = self._waiting, []
        excess = len(waiting) - MAX_DRAFTS
        for place, request in enumerate(waiting):
            frame = request.prompt.frame
            into = self._tracking.prompts.is_tracked_into(request.object, frame)
            if is_at_rest or place < excess or not into or frame <= self._store.tracked_to:
                self._draft(request)
            else:
                self._waiting.append(request)

    def _draft(self, request: Draft) -> None:
        prompts = self._tracking.prompts
        try:
            drawn = request.prompt.placed(request.object)
            item = prompts.with_prompt(drawn).at(request.object, drawn.frame)
            assert item is not None
            found = self._drafts.mask(item, prompts, self._plan, self._store.tracked_to)
        except (TrackdError, StreamError) as error:
            self._emit(DraftRefused(id=request.id, message=error.message, hint=error.hint))
            return
        rle = encode_rle(found.mask_hw)
        mask = RleMask(size=(rle.height, rle.width), counts=rle.counts)
        self._emit(DraftMask(id=request.id, object=found.id, score=found.score, mask=mask))

    def _progress(self, state: _State, tally: Tally) -> None:
        if time.monotonic() - self._told_s >= STATUS_EVERY_S:
            self._tell(state, tally.fps)

    def _tell(self, state: _State, fps: float = 0.0) -> None:
        self._told_s = time.monotonic()
        self._store.commit()
        self._emit(
            Status(
                state=state,
                tracked_to=self._store.tracked_to,
                done=self._tracking.is_done and not self._failure,
                fps=fps,
                error=self._failure,
            )
        )


def main(arguments: Sequence[str]) -> int:
    """Track the project in the folder until the input ends; the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who reads the events
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the events

    def emit(event: Event) -> None:
        events.write(event.model_dump_json().encode() + b"\n")
        events.flush()

    folder, *roots = map(Path, arguments)
    access = None
    if roots:
        access = SourcePolicy(FileAccess(roots), HostAccess(HostRules.parse(())))
    try:
        emit(Status(state="loading"))
        project = Project.open(folder, access)
        with project.lock(LOCK_WAIT_S), project.results() as store:
            loaded = LoadedModel(project)
            tracking = ProjectTracking(project, loaded, store)
            Worker(tracking, loaded, store, emit).run(sys.stdin.buffer)
    except BrokenPipeError:  # whoever asked is gone
        return 1
    except (TrackdError, StreamError) as error:
        emit(Status(state="failed", error=str(error)))
        return error.exit_code
    except Exception as error:
        limit = exhausted(error)
        emit(Status(state="failed", error=str(limit or f"{type(error).__name__}: {error}")))
        if limit is None:
            raise
        return 1
    return 0


if __name__ == "__main__":
    prepare_process()
    leave_stacks()
    sys.exit(main(sys.argv[1:]))
