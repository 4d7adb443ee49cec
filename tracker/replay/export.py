"""Export of a recording: the masks that were sent, into any format of the exporters' registry."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain

from streams.frame import Frame
from tracker.annotate.job import Job, Tally
from tracker.annotate.outputs import Outputs
from tracker.annotate.plan import PromptPlan
from tracker.annotate.progress import Progress, never, no_progress
from tracker.errors import TrackdError, UsageError
from tracker.exporters.base import ExportSource, notes_of
from tracker.protocol.data import FrameStamp
from tracker.replay.contents import Contents
from tracker.replay.masks import sent_masks
from tracker.replay.pictures import RecordedPictures
from tracker.replay.recording import Recording
from tracker.replay.span import Moment, Span, utc_text
from tracker.replay.times import ContinuousClock, presentation_s
from tracker.types import TrackResult

_MOST_NAMED = 5  # files in a note
_ALL_FRAMES = PromptPlan((), finds=True)


@dataclass(frozen=True, slots=True)
class RecordingSummary:
    """What an export of a recording did.

    Attributes:
        stream: Its name.
        exported: Frames that were written.
        missing: Frames with masks whose pictures are not in the recording.
        first: Time of the first frame that was written, in UTC; "" where none was.
        last: Likewise of the last.
        stopped_early: Someone asked to stop.
        outputs: Path of each output by its key.
        notes: What the outputs do not hold, for people.
    """

    stream: str
    exported: int = 0
    missing: int = 0
    first: str = ""
    last: str = ""
    stopped_early: bool = False
    outputs: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def export_recording(
    recording: Recording,
    outputs: Outputs,
    *,
    start: Moment | None = None,
    stop: Moment | None = None,
    progress: Progress = no_progress,
    stop_asked: Callable[[], bool] = never,
) -> RecordingSummary:
    """Write the frames that were tracked, with the masks that were sent, as one video.

    Args:
        recording: What is exported.
        outputs: What is written.
        start: Its first frame; None for that of the recording.
        stop: The first frame after it; None for none.
        progress: Shows how far it is.
        stop_asked: Asked before each frame; what was written up to then is valid.

    Raises:
        UsageError: There is no such frame, or an output cannot hold what there is.
        OutputError: An output cannot be written there.
        TrackdError: A file is damaged elsewhere than at its end, or no picture is there.
        StreamError: A video cannot be decoded.
    """
    files = [one for segment in recording.segments for one in segment.files]
    outputs.check([recording.folder, *files], {})
    span = Span.between(start, stop, lambda: _first_ns(recording))
    part = recording.during(span)
    contents = _read(part, span, progress, stop_asked)
    if contents.stopped_early:
        return RecordingSummary(recording.stream, stopped_early=True)
    if not contents.frames:
        raise _nothing_in(recording)
    for export in outputs.exports:
        export.check_objects(contents.labels)
    pictures = RecordedPictures(part)
    try:
        frames = RecordedFrames(part, span, pictures, ContinuousClock(contents.fps))
        return _write(frames, contents, outputs, progress, stop_asked)
    finally:
        pictures.close()


def begin_of(recording: Recording, start: Moment) -> int:
    """A time of a recording in ns since 1970; raises as `export_recording`."""
    return Span.between(start, None, lambda: _first_ns(recording)).began_ns


def _first_ns(recording: Recording) -> int:
    """Time of the first frame with masks."""
    for sent in sent_masks(recording, Span()):
        return sent.frame.captured_ns
    raise _nothing_in(recording)


def _nothing_in(recording: Recording) -> UsageError:
    first, last = recording.segments[0].stem, recording.segments[-1].stem
    return UsageError(
        f"no frame of {recording.folder} was tracked at that time",
        f"its first segment is of {first}, its last of {last}",
    )


def _read(
    recording: Recording, span: Span, progress: Progress, stop_asked: Callable[[], bool]
) -> Contents:
    with progress(None, lambda tally: "read") as show:
        return Contents.of(
            recording,
            span,
            on_frame=lambda frames: show(Tally(frames=frames)),
            stop_asked=stop_asked,
        )


class RecordedFrames:
    """Frames with their masks: gives the frames, and is what tracks them for a `Job`.

    Frames are numbered from 0 without gaps; times are those of a `ContinuousClock`.

    Attributes:
        missing: Frames so far whose pictures are not in the recording.
        first_ns: Time of the first frame by the daemon's wall clock; 0 before it.
        last_ns: Likewise of the newest.
    """

    def __init__(
        self, recording: Recording, span: Span, pictures: RecordedPictures, clock: ContinuousClock
    ) -> None:
        """Read `recording`, whose `pictures` have not been asked for yet."""
        self.recording = recording
        self.pictures = pictures
        self.missing = 0
        self.first_ns = 0
        self.last_ns = 0
        self._span = span
        self._clock = clock
        self._results: deque[TrackResult] = deque()

    def __iter__(self) -> Iterator[Frame]:
        """Frames in the order in which they were tracked, those without a picture left out.

        Raises:
            TrackdError: A file is damaged, or masks do not fit their picture.
            StreamError: A video cannot be decoded.
        """
        number = 0
        for sent in sent_masks(self.recording, self._span):
            picture = self.pictures.find(sent.frame)
            at_s = presentation_s(sent.frame)
            if picture is None or at_s is None:
                self.missing += 1
                continue
            _check_size(picture, sent.frame)
            self._results.append(sent.result(number))
            self.first_ns = self.first_ns or sent.frame.captured_ns
            self.last_ns = sent.frame.captured_ns
            yield self._placed(picture, sent.frame, number, self._clock.carry_on(at_s))
            number += 1

    def _placed(self, picture: Frame, stamp: FrameStamp, number: int, at_s: Fraction) -> Frame:
        """The frame of a video at its place in the whole recording."""
        assert stamp.time_base is not None  # it has a time
        time_base = Fraction(*stamp.time_base)
        return replace(
            picture,
            stream=self.recording.stream,
            seq=number,
            pts=round(at_s / time_base),
            time_base=time_base,
            captured_ns=stamp.captured_ns,
            duration=None,
        )

    def track(self, frame: Frame) -> TrackResult:
        """What was sent of the oldest frame that was given and not asked about yet."""
        return self._results.popleft()


def _check_size(picture: Frame, stamp: FrameStamp) -> None:
    height, width = picture.image.shape[:2]
    if (height, width) != (stamp.height, stamp.width):
        raise TrackdError(
            f"frame {stamp.seq} has {width}x{height} pixels in the recorded video, "
            f"its masks {stamp.width}x{stamp.height}",
            "the source was turned or changed: leave that time out with --from and --to",
        )


def _write(
    frames: RecordedFrames,
    contents: Contents,
    outputs: Outputs,
    progress: Progress,
    stop_asked: Callable[[], bool],
) -> RecordingSummary:
    source = ExportSource(frames.recording.stream, contents.fps, contents.labels)
    checked = _checked(frames, outputs)
    writers = outputs.open(source)
    with progress(contents.frames, lambda tally: "export") as show:
        job = Job(frames, _ALL_FRAMES, writers)
        tally = job.run(checked, on_frame=show, stop_asked=stop_asked)
    own = _notes(frames, contents)
    return RecordingSummary(
        stream=frames.recording.stream,
        exported=tally.frames,
        missing=frames.missing,
        first=utc_text(frames.first_ns) if tally.frames else "",
        last=utc_text(frames.last_ns) if tally.frames else "",
        stopped_early=tally.stopped_early,
        outputs=outputs.by_key if tally.frames else {},
        notes=(*own, *(note for writer in writers for note in notes_of(writer))),
    )


def _checked(frames: RecordedFrames, outputs: Outputs) -> Iterable[Frame]:
    """The frames, the first of which fits the outputs."""
    left = iter(frames)
    first = next(left, None)
    if first is None:
        raise TrackdError(
            f"no picture of {_frames(frames.missing)} with masks is in {frames.recording.folder}",
            "the video files are missing or damaged, or recording began later",
        )
    height, width = first.image.shape[:2]
    outputs.check_size(height, width)
    return chain((first,), left)


def _notes(frames: RecordedFrames, contents: Contents) -> Iterator[str]:
    """What the recording, and thus every output, does not hold."""
    segments = frames.recording.segments
    lacking = [one for one in segments if one.messages is None]
    unfinished = [one for one in segments if one.messages is not None and not one.is_finished]
    if unfinished:
        names = _named([one.stem for one in unfinished])
        yield f"{names}: still recorded, or cut short when recording ended; used as far as it goes"
    if lacking:
        yield f"{_named([one.stem for one in lacking])}: no masks, the .mcap is missing; left out"
    if frames.pictures.unreadable:
        yield f"{_named([path.name for path in frames.pictures.unreadable])}: cannot be decoded"
    if frames.missing:
        yield f"without a picture in the recording, and left out: {_frames(frames.missing)}"
    if contents.without_turn:
        yield f"an object had no turn, and has no mask, on {_frames(contents.without_turn)}"
    if contents.has_polygons:
        yield "masks were sent as polygons: their holes are filled"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _named(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
