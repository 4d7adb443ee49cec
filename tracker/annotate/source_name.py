"""Name of a source, under which outputs list its frames."""

from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from streams.address import SourceKind, parse_address
from streams.sources.images import images_folder


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
