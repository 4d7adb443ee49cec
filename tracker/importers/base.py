"""Interface of importers: what is read of a file, and the row that its format has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streams.access.bounded_file import read_at_most
from tracker.errors import UsageError
from tracker.rle import Rle
from tracker.text_file import decode_text

#: Of one annotation file.
MAX_FILE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Annotated:
    """One object on one frame, as a file has it: a box, a mask, or that it is gone.

    Attributes:
        number: Number of the frame in the source; None where the file does not tell.
        name: Name of the picture, whole or without suffix; None where the frames are numbered.
        object_id: The file's id of the object; None where it has none.
        label: Its class.
        box_xyxy: Edges of its box in pixels.
        mask: Its mask.
        is_gone: From this frame on it is out of sight.
        is_between: A program put it between two frames on which somebody, or a tracker, drew it.
    """

    number: int | None
    name: str | None
    object_id: int | None
    label: str | None
    box_xyxy: tuple[float, float, float, float] | None = None
    mask: Rle | None = None
    is_gone: bool = False
    is_between: bool = False


@dataclass(frozen=True, slots=True)
class ImporterSpec:
    """Registry row of a format that is read.

    Attributes:
        name: As in `trackd prompts from NAME PATH`.
        help: What is read, for `--help`.
        read: Reads a file or a folder, in any order of frames; raises `UsageError` where it is not
            of this format, and `PromptError` where a mask in it is none.
    """

    name: str
    help: str
    read: Callable[[Path], Iterator[Annotated]]


def read_text(path: Path) -> str:
    """The text of an annotation file.

    Raises:
        UsageError: It cannot be read, is too large, or no text.
    """
    try:
        return decode_text(read_at_most(path, MAX_FILE_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}", "check the path") from error
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def files_in(folder: Path, *patterns: str) -> list[Path]:
    """The files below a folder that match a pattern, in order of their names.

    Raises:
        UsageError: It is no folder, or there are none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "give the folder that was exported")
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        raise UsageError(f"{folder} holds no {' or '.join(patterns)}", "check the format")
    return found


def number_in(stem: str) -> int | None:
    """The number of a frame that names itself by nothing else."""
    return int(stem) if stem.isascii() and stem.isdecimal() and len(stem) < 10 else None
