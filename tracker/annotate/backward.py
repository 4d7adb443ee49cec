"""Backward pass, from the prompts towards the start, and its merge with the forward pass.

Sources give frames in ascending order only. So the frames are decoded from the start up to the
piece that is needed next, of which as much is held as `_HELD_BYTES` allow, once per piece: memory
is bounded, and a source of `n` frames whose pieces hold `k` is decoded `n / 2k` times over.
"""

import tempfile
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

from streams.frame import Frame
from tracker.annotate.first_masks import FirstMasks
from tracker.annotate.job import Tally
from tracker.annotate.journal import Journal
from tracker.annotate.plan import PromptPlan
from tracker.annotate.trackers import FrameTracker, TrackSession
from tracker.errors import OutputError
from tracker.types import TrackResult

_HELD_BYTES = 256 * 2**20
_NOT_TRACKED = -1

OpenFrames = Callable[[], AbstractContextManager[Iterable[Frame]]]


class KeptResults(Protocol):
    """Results of a backward pass, frame by frame."""

    def put(self, frame: int, result: TrackResult) -> None:
        """Keep the results of a frame."""

    def get(self, frame: int) -> TrackResult | None:
        """The results of a frame; None where there are none."""

    def close(self) -> None:
        """Let them go."""


class BackwardResults:
    """Results of the backward pass on disk, for each frame before the last of the first prompts."""

    def __init__(self, start: int, stop: int) -> None:
        """Hold frames `start` to `stop`, `stop` left out, in a file without a name.

        Raises:
            OutputError: The folder of temporary files cannot be written.
        """
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise OutputError(
                f"cannot make a temporary file: {error.strerror}", "set TMPDIR to another folder"
            ) from error
        self._journal = Journal(file)
        self._start = start
        self._offsets = array("q", [_NOT_TRACKED]) * (stop - start)

    def put(self, frame: int, result: TrackResult) -> None:
        """Keep the results of a frame.

        Raises:
            OutputError: The disk is full.
        """
        self._offsets[frame - self._start] = self._journal.append(frame, result)

    def get(self, frame: int) -> TrackResult | None:
        """The results of a frame; None where there are none."""
        index = frame - self._start
        if not 0 <= index < len(self._offsets) or self._offsets[index] == _NOT_TRACKED:
            return None
        return self._journal.read(frame, self._offsets[index])

    def close(self) -> None:
        """Delete them."""
        self._journal.close()


class BackwardPass:
    """Tracks each object from its first prompt towards the start of the range."""

    def __init__(
        self,
        session: TrackSession,
        plan: PromptPlan,
        first_masks: FirstMasks | None = None,
        results: KeptResults | None = None,
    ) -> None:
        """Prepare; `session` is a new one, that tracks nothing else.

        `first_masks` makes the first mask of each object; without, the session does. `results`
        takes what is found; without, a temporary file does.
        """
        self._session = session
        self._first_masks = first_masks
        self._plan = plan
        self._start = plan.frames.start
        self._first_frames = plan.first_frames
        self._stop = max(self._first_frames.values()) + 1
        self.results: KeptResults = results or BackwardResults(self._start, self._stop)
        self.tally = Tally()

    @property
    def total(self) -> int:
        """Frames to track, damaged ones included."""
        return self._stop - self._start

    def run(
        self,
        open_frames: OpenFrames,
        *,
        on_frame: Callable[[Tally], None],
        stop_asked: Callable[[], bool],
    ) -> Tally:
        """Track to the start of the range, or until `stop_asked` says so.

        Args:
            open_frames: Opens the source again, at its first frame.
            on_frame: Called after each frame.
            stop_asked: Asked before each frame.

        Raises:
            PromptError: The source ended before the frame of a prompt, or one does not fit.
            OutputError: The disk is full.
            StreamError: The source failed.
        """
        tally = self.tally
        began_s = time.perf_counter()
        for frame in self._descending(open_frames, stop_asked):
            if stop_asked():
                break
            self._track(frame)
            tally.frames += 1
            tally.last_frame = frame.seq
            tally.elapsed_s = time.perf_counter() - began_s
            on_frame(tally)
        tally.stopped_early = stop_asked()
        return tally

    def _track(self, frame: Frame) -> None:
        height, width = frame.image.shape[:2]
        result = self._session.step(frame.image)
        if result.objects:
            self.results.put(frame.seq, result)
        for item in result.objects:
            seen = self.tally.frames_by_object.get(item.id, 0)
            self.tally.frames_by_object[item.id] = seen + (item.box_xyxy is not None)
        prompts = [
            due.fitted(height, width)
            for due in self._plan.due(frame.seq)
            if self._first_frames[due.prompt.object_id] == frame.seq
        ]
        if self._first_masks is not None:
            prompts = self._first_masks.applied(prompts, frame, ())
        for prompt in prompts:
            self._session.prompt(prompt)

    def _descending(
        self, open_frames: OpenFrames, stop_asked: Callable[[], bool]
    ) -> Iterator[Frame]:
        stop = self._stop
        while stop > self._start:
            held = self._held_before(stop, open_frames, stop_asked)
            if not held:
                return
            while held:
                frame = held.pop()
                stop = frame.seq
                yield frame

    def _held_before(
        self, stop: int, open_frames: OpenFrames, stop_asked: Callable[[], bool]
    ) -> deque[Frame]:
        """The last frames before `stop`, as many as may be held.

        There is one at least, unless all up to the start are damaged, or a stop was asked for.
        """
        held: deque[Frame] = deque()
        held_bytes, ended_at = 0, 0
        with open_frames() as frames:
            for frame in frames:
                if stop_asked():
                    return deque()
                if frame.seq >= stop:  # the frame before it is damaged
                    return held
                ended_at = frame.seq + 1
                if frame.seq >= self._start:
                    held.append(frame)
                    held_bytes += frame.image.nbytes
                while len(held) > 1 and held_bytes > _HELD_BYTES:
                    held_bytes -= held.popleft().image.nbytes
                if frame.seq == stop - 1:
                    return held
        self._plan.check_range(ended_at)
        raise AssertionError("the source lost frames between two readings")


class MergedTracker:
    """Before its first prompt an object is as the backward pass found it, from there on as ever."""

    def __init__(self, tracker: FrameTracker, results: KeptResults, plan: PromptPlan) -> None:
        """Add to what `tracker` finds."""
        self._tracker = tracker
        self._results = results
        self._first_frames = plan.first_frames

    def track(self, frame: Frame) -> TrackResult:
        """All objects on the next frame."""
        forward = self._tracker.track(frame)
        backward = self._results.get(frame.seq)
        if backward is None:
            return forward
        earlier = [item for item in backward.objects if frame.seq < self._first_frames[item.id]]
        both = sorted((*forward.objects, *earlier), key=lambda item: item.id)
        return replace(forward, objects=tuple(both))
