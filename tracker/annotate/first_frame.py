"""Check of the first frame of the range, before the work begins."""

from collections.abc import Iterable, Iterator
from itertools import chain

from streams.frame import Frame
from tracker.annotate.outputs import Outputs
from tracker.annotate.plan import PromptPlan


def checked_frames(source: Iterable[Frame], plan: PromptPlan, outputs: Outputs) -> Iterator[Frame]:
    """The frames of the range, the first of which fits its prompts and the outputs.

    Raises:
        PromptError: A prompt does not fit.
        UsageError: An output cannot hold frames of this size.
        StreamError: The source failed before the range.
    """
    frames = (frame for frame in source if frame.seq >= plan.frames.start)
    first = next(frames, None)
    if first is None:
        return frames
    height, width = first.image.shape[:2]
    plan.check_size(height, width)
    outputs.check_size(height, width)
    return chain((first,), frames)
