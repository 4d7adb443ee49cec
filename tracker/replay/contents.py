"""Contents of a recording: what writers must know of it before its first frame."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from tracker.replay.masks import SentMasks, sent_masks
from tracker.replay.recording import Recording
from tracker.replay.span import Span
from tracker.replay.times import FrameRate, presentation_s


@dataclass(slots=True)
class Contents:
    """What the messages of a recording say.

    Attributes:
        frames: Frames that were sent with their masks.
        fps: Their rate; None where there is one frame only.
        labels: Newest label of each object, by its id.
        without_turn: Frames on which an object was not looked for.
        has_polygons: Masks were sent as polygons.
        stopped_early: Someone asked to stop.
    """

    frames: int = 0
    fps: Fraction | None = None
    labels: dict[int, str | None] = field(default_factory=dict)
    without_turn: int = 0
    has_polygons: bool = False
    stopped_early: bool = False

    @classmethod
    def of(
        cls,
        recording: Recording,
        span: Span,
        *,
        on_frame: Callable[[int], None] = lambda frames: None,
        stop_asked: Callable[[], bool] = lambda: False,
    ) -> "Contents":
        """Read the messages about the frames of a time; decodes neither masks nor pictures.

        Args:
            recording: What is read.
            span: The time.
            on_frame: Called with the number of frames so far.
            stop_asked: Asked before each message.

        Raises:
            TrackdError: As `sent_masks`.
        """
        found, rate = cls(), FrameRate()
        for sent in sent_masks(recording, span):
            if stop_asked():
                found.stopped_early = True
                break
            found._add(sent)
            rate.add(presentation_s(sent.frame))
            on_frame(found.frames)
        found.fps = rate.fps
        return found

    def _add(self, sent: SentMasks) -> None:
        objects = sent.message.objects
        self.frames += 1
        for item in objects:
            self.labels[item.id] = item.label or self.labels.get(item.id)
        self.without_turn += any(not item.updated for item in objects)
        self.has_polygons |= sent.message.encoding == "polygon"
