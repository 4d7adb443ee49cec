"""Name of a source, under which outputs list its frames, and what else writers know of it."""

from fractions import Fraction
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from streams.address import SourceKind, local_path, parse_address
from streams.sources.images import images_folder
from tracker.exporters.base import ExportSource, Labels


def source_name(url: str) -> str:
    """The name of the pictures' folder, or of a video without its suffix.

    Raises:
        StreamError: The address is wrong.
    """
    address = parse_address(url)
    match address.kind:
        case SourceKind.PATH:
            path = Path(address.location)
            folder = images_folder(path)
            return path.stem if folder is None else folder.resolve().name
        case SourceKind.NETWORK:
            return PurePosixPath(unquote(urlsplit(address.shown).path)).stem or "video"
        case SourceKind.CAMERA:
            return "camera"
        case SourceKind.PATTERN:
            return "pattern"


def export_source(
    url: str, fps: Fraction | None, labels: Labels, *, is_video: bool
) -> ExportSource:
    """A source as writers need to know it.

    Args:
        url: Its address.
        fps: Its frame rate, if it has one.
        labels: Label of each object that may come.
        is_video: It is no picture, nor a folder of them.

    Raises:
        StreamError: The address is wrong.
    """
    path = local_path(url)
    file = path if is_video and path is not None and path.is_file() else None
    return ExportSource(source_name(url), fps, labels, file)
