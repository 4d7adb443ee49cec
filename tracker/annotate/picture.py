"""One picture of a source: a still, or a frame of a video."""

import re
from collections.abc import Callable

from streams import open_source
from streams.frame import Frame
from streams.options import SourceOptions
from tracker.errors import UsageError

_PLACED = re.compile(r"(?P<source>.+)@(?P<frame>\d{1,9})", re.DOTALL)


def split_frame(text: str) -> tuple[str, int]:
    """The source and the frame of `CLIP@FRAME`; without `@FRAME` it is the first."""
    match = _PLACED.fullmatch(text)
    return (text, 0) if match is None else (match["source"], int(match["frame"]))


def read_picture(
    source: str,
    number: int,
    *,
    options: SourceOptions | None = None,
    before: Callable[[Frame], None] = lambda frame: None,
) -> Frame:
    """Frame `number` of a source, after `before` was called with each of those before it.

    Raises:
        UsageError: The source has no such frame.
        StreamError: It cannot be opened or decoded.
    """
    last = -1
    with open_source(source, options=options) as frames:
        for frame in frames:
            if frame.seq == number:
                return frame
            if frame.seq > number:
                break
            before(frame)
            last = frame.seq
    raise UsageError(
        f"{source} has no frame {number}", f"frames are numbered from 0; its last is {last}"
    )
