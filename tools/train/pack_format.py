"""A pack: the pictures and masks of a data folder, as they were, in a few large files.

`index.json` says what lies where; `part-NNN.bin` hold the JPEG and PNG bytes one after the other.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

DEVELOPMENT_SET = "davis-dev"
INDEX_NAME = "index.json"
MAX_PART_BYTES = 25 * 10**6


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Blob(_Strict):
    """Place of the bytes of one encoded picture."""

    part: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]
    length: Annotated[int, Field(gt=0)]


class Still(_Strict):
    """A picture and its masks, in each of which a value is a region; 0 is none."""

    name: str
    image: Blob
    masks: tuple[Blob, ...]


class VideoFrame(_Strict):
    """A frame and its mask, in which every value but 0 is the object."""

    image: Blob
    mask: Blob


class Part(_Strict):
    """One of the large files."""

    file: Annotated[str, Field(pattern=r"^part-\d{3}\.bin$")]
    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class PackIndex(_Strict):
    """Index of a pack; sources are folders of the data folder.

    Attributes:
        version: Of this format.
        parts: The large files.
        stills: Pictures by source.
        videos: Frames, in order, by source and name of the video.
    """

    version: Literal[1] = 1
    parts: tuple[Part, ...]
    stills: dict[str, tuple[Still, ...]]
    videos: dict[str, dict[str, tuple[VideoFrame, ...]]]


def part_path(folder: Path, number: int) -> Path:
    """Path of a part."""
    return folder / f"part-{number:03d}.bin"
