"""Opens a source, whatever it is, by its address."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from streams.access.files import FileAccess, FileFeed, OpenFile, open_any
from streams.access.policy import SourcePolicy
from streams.address import Address, SourceKind, parse_address
from streams.decode.ffmpeg_errors import translated
from streams.decode.image import MAX_PIXELS
from streams.frame import Frame
from streams.info import SourceInfo, SourceStats
from streams.options import SourceOptions
from streams.sources.ffmpeg import AvSource
from streams.sources.images import ImageFolderSource, find_images
from streams.sources.network import open_network
from streams.sources.webp import HEAD_BYTES, WebpAnimationSource, is_webp_animation

__all__ = ["Source", "SourceInfo", "SourceOptions", "SourceStats", "open_source"]


class Source(Protocol):
    """Frames in order, once; a context manager that closes the input.

    Iterating raises a StreamError where the source fails; it ends where the source ends.
    """

    info: SourceInfo
    stats: SourceStats

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        ...

    def close(self) -> None:
        """Close the input; no more frames come."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_source(
    url: str,
    *,
    stream: str = "main",
    open_timeout_s: float = 10.0,
    read_timeout_s: float = 10.0,
    options: SourceOptions | None = None,
    poll_stills: bool = False,
    stop: threading.Event | None = None,
    max_pixels: int = MAX_PIXELS,
    policy: SourcePolicy | None = None,
) -> Source:
    """Open a source and decode its first frame.

    Args:
        url: A video file, also as `file:URL`; an image file or folder (`DIR`, or `DIR/%05d.jpg`);
            `rtsp(s)://`, `http(s)://`, `rtmp(s)://`, `udp://`, `rtp://` or `tcp://`; `webcam:N` or
            `/dev/videoN`; a test pattern `lavfi:GRAPH`.
        stream: The name that its frames carry.
        open_timeout_s: Longest wait, in seconds, for each step of opening.
        read_timeout_s: Longest wait, in seconds, for the next piece of data.
        options: How a camera or a server is spoken to.
        poll_stills: Ask for a JPEG at an http(s) address again and again, as a camera's, where
            the options do not say; else it is a source of one frame.
        stop: Ends the source where it only waits until it asks again; may be set by any thread.
        max_pixels: Of a frame; a source of larger ones is refused before they are decoded.
        policy: What may be opened; None for all that this user may open.

    Raises:
        SourceUsageError: The address is wrong.
        SourceNotFound: There is nothing at the address.
        SourceUnreadable: It cannot be opened or decoded.
        SourceTooLarge: Its pictures have more than `max_pixels`.
        SourceDenied: The password, the access rights or the policy forbid it.
        SourceTimeout: It does not answer.
    """
    address = parse_address(url, options)
    if policy is not None:
        policy.check(address)
    if address.kind is SourceKind.NETWORK:
        return open_network(
            address,
            stream=stream,
            open_timeout_s=open_timeout_s,
            read_timeout_s=read_timeout_s,
            poll_stills=poll_stills,
            stop=stop,
            max_pixels=max_pixels,
            policy=policy,
        )
    open_with_ffmpeg = partial(
        AvSource,
        stream=stream,
        open_timeout_s=open_timeout_s,
        read_timeout_s=read_timeout_s,
        max_pixels=max_pixels,
    )
    if address.kind is SourceKind.PATH:
        files = None if policy is None else policy.files
        return _open_path(address, open_with_ffmpeg, stream, files, max_pixels)
    if policy is not None:
        with translated(address):
            address = policy.for_ffmpeg(address)
    return open_with_ffmpeg(address)


def _open_path(
    address: Address,
    open_with_ffmpeg: Callable[..., Source],
    stream: str,
    files: FileAccess | None,
    max_pixels: int,
) -> Source:
    path, open_file = Path(address.location), open_any if files is None else files.open
    with translated(address):
        if files is not None:
            path = files.resolve(path)
        images = find_images(path, open_file)
        animated = images is None and is_webp_animation(_head(path, open_file))
    if images is not None:
        return ImageFolderSource(
            address, images, stream=stream, open_file=open_file, max_pixels=max_pixels
        )
    if animated:
        return WebpAnimationSource(
            address, stream=stream, open_file=open_file, max_pixels=max_pixels
        )
    if files is None:
        return open_with_ffmpeg(address)
    with translated(address):
        feed = FileFeed(files.open(path), path.name)
    try:
        return open_with_ffmpeg(address, feed=feed)
    except BaseException:
        feed.close()
        raise


def _head(path: Path, open_file: OpenFile) -> bytes:
    if not path.is_file():  # reading a pipe would take from it
        return b""
    with open_file(path) as file:
        return file.read(HEAD_BYTES)
