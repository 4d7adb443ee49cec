"""Opens files and folders: pictures, WebP animations, and whatever FFmpeg plays."""

from pathlib import Path

from streams.access.files import FileFeed, OpenFile, open_any
from streams.decode.ffmpeg_errors import translated
from streams.sources.base import Address, OpenOptions, Source
from streams.sources.feed import Feed
from streams.sources.ffmpeg import AvSource
from streams.sources.images import ImageFolderSource, find_images
from streams.sources.webp import HEAD_BYTES, WebpAnimationSource, is_webp_animation


def open_path(address: Address, asked: OpenOptions) -> Source:
    """Open a file or a folder; see `streams.open_source`.

    Raises:
        StreamError: It cannot be opened, or may not be.
    """
    files = None if asked.policy is None else asked.policy.files
    path, open_file = Path(address.location), open_any if files is None else files.open
    with translated(address):
        if files is not None:
            path = files.resolve(path)
        images = find_images(path, open_file)
        animated = images is None and is_webp_animation(_head(path, open_file))
    stream, max_pixels = asked.stream, asked.max_pixels
    if asked.tap is not None and (images is not None or animated):
        asked.tap.refused("pictures have no packets; they are files already")
    if images is not None:
        return ImageFolderSource(
            address, images, stream=stream, open_file=open_file, max_pixels=max_pixels
        )
    if animated:
        return WebpAnimationSource(
            address, stream=stream, open_file=open_file, max_pixels=max_pixels
        )
    if files is None:
        return _open_with_ffmpeg(address, asked)
    with translated(address):
        feed = FileFeed(files.open(path), path.name)
    try:
        return _open_with_ffmpeg(address, asked, feed)
    except BaseException:
        feed.close()
        raise


def _open_with_ffmpeg(address: Address, asked: OpenOptions, feed: Feed | None = None) -> AvSource:
    return AvSource(
        address,
        stream=asked.stream,
        open_timeout_s=asked.open_timeout_s,
        read_timeout_s=asked.read_timeout_s,
        max_pixels=asked.max_pixels,
        tap=asked.tap,
        feed=feed,
    )


def _head(path: Path, open_file: OpenFile) -> bytes:
    if not path.is_file():  # reading a pipe would take from it
        return b""
    with open_file(path) as file:
        return file.read(HEAD_BYTES)
