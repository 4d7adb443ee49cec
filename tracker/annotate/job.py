"""Job: the frame loop from a source through a tracker into writers."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from streams.frame import Frame
from tracker.annotate.plan import PromptPlan
from tracker.annotate.trackers import FrameTracker
from tracker.errors import UsageError
from tracker.exporters.base import Writer


@dataclass(slots=True)
class Tally:
    """Counters of the job so far; times in seconds by the monotonic clock.

    Attributes:
        frames: Frames tracked and written.
        last_frame: Number of the newest of them in the source.
        frames_by_object: Per object id, frames on which it has a mask.
        stopped_early: Someone asked to stop before the end.
        decode_s, encode_s, track_s, write_s: Time per stage; what was encoded ahead, beside the
            tracking of another frame, is not counted twice.
        elapsed_s: Time since the first frame of the range was asked for.
    """

    frames: int = 0
    last_frame: int | None = None
    frames_by_object: dict[int, int] = field(default_factory=dict)
    stopped_early: bool = False
    decode_s: float = 0.0
    encode_s: float = 0.0
    track_s: float = 0.0
    write_s: float = 0.0
    elapsed_s: float = 0.0

    @property
    def fps(self) -> float:
        """Frames per second, all stages together."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0


class Job:
    """Runs the frames of a plan's range through a tracker, and what it says into writers."""

    def __init__(
        self,
        tracker: FrameTracker,
        plan: PromptPlan,
        writers: Sequence[Writer],
        picture_count: int = 0,
    ) -> None:
        """Prepare; `run` does the work, once.

        Args:
            tracker: Says what is on each frame.
            plan: The range, and the prompts that must lie before the end of the source.
            writers: Take what it says.
            picture_count: Frames of a folder, damaged ones at its end included; 0 for a video,
                whose end is its last frame whatever it claims.
        """
        self._tracker = tracker
        self._plan = plan
        self._writers = writers
        self._picture_count = picture_count
        self.tally = Tally()

    def run(
        self,
        source: Iterable[Frame],
        *,
        on_frame: Callable[[Tally], None],
        stop_asked: Callable[[], bool],
    ) -> Tally:
        """Track to the end of the range, of the source, or until `stop_asked` says so.

        Whatever ends the run, the writers are closed, so that what they hold is valid; without
        a frame they leave nothing.

        Args:
            source: Frames from the source's first, in ascending order.
            on_frame: Called after each frame.
            stop_asked: Asked before each frame.

        Raises:
            PromptError: The source ended before the frame of a prompt.
            UsageError: The source ended before the range began.
            OutputError: An output cannot be written.
            StreamError: The source, or the video that is written, failed.
        """
        try:
            self._loop(source, on_frame, stop_asked)
        finally:
            self._close()
        if not self.tally.stopped_early:
            self._check_end()
        return self.tally

    def _loop(
        self,
        source: Iterable[Frame],
        on_frame: Callable[[Tally], None],
        stop_asked: Callable[[], bool],
    ) -> None:
        tally, stop = self.tally, self._plan.frames.stop
        iterator = iter(source)
        began_s = time.perf_counter()
        while stop is None or tally.last_frame is None or tally.last_frame + 1 < stop:
            if stop_asked():
                tally.stopped_early = True
                return
            asked_s = time.perf_counter()
            frame = next(iterator, None)
            if frame is None or (stop is not None and frame.seq >= stop):
                return
            if frame.seq < self._plan.frames.start:
                began_s = time.perf_counter()
                continue
            tally.decode_s += time.perf_counter() - asked_s
            self._do(frame)
            tally.elapsed_s = time.perf_counter() - began_s
            on_frame(tally)

    def _do(self, frame: Frame) -> None:
        tally = self.tally
        begun_s = time.perf_counter()
        result = self._tracker.track(frame)
        tracked_s = time.perf_counter()
        for writer in self._writers:
            writer.write(frame, result)
        encode_s = result.times.encode_s - result.times.ahead_s
        tally.encode_s += encode_s
        tally.track_s += tracked_s - begun_s - encode_s
        tally.write_s += time.perf_counter() - tracked_s
        tally.frames += 1
        tally.last_frame = frame.seq
        for item in result.objects:
            seen = tally.frames_by_object.get(item.id, 0)
            tally.frames_by_object[item.id] = seen + (item.box_xyxy is not None)

    def _check_end(self) -> None:
        if self.tally.last_frame is None:
            raise UsageError(
                f"the source ended before --start {self._plan.frames.start}", "start earlier"
            )
        self._plan.check_range(max(self.tally.last_frame + 1, self._picture_count))

    def _close(self) -> None:
        begun_s = time.perf_counter()
        with ExitStack() as stack:
            for writer in self._writers:
                stack.callback(writer.close)
        spent_s = time.perf_counter() - begun_s
        self.tally.write_s += spent_s
        self.tally.elapsed_s += spent_s
