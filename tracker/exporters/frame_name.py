"""Names of the files about a frame."""

from streams.frame import Frame
from streams.sources.images import stem_of


def frame_stem(frame: Frame) -> str:
    """The name of the picture, or the number of the frame, without a suffix."""
    return f"{frame.seq:05d}" if frame.name is None else stem_of(frame.name)
