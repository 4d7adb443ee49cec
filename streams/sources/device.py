"""Opens what FFmpeg reads from this machine by itself: cameras and test patterns."""

from streams.decode.ffmpeg_errors import translated
from streams.sources.base import Address, OpenOptions
from streams.sources.ffmpeg import AvSource


def open_device(address: Address, asked: OpenOptions) -> AvSource:
    """Open a camera or a pattern; see `streams.open_source`.

    Raises:
        StreamError: It cannot be opened, or may not be.
    """
    if asked.policy is not None:
        with translated(address):
            address = asked.policy.for_ffmpeg(address)
    return AvSource(
        address,
        stream=asked.stream,
        open_timeout_s=asked.open_timeout_s,
        read_timeout_s=asked.read_timeout_s,
        max_pixels=asked.max_pixels,
        tap=asked.tap,
    )
