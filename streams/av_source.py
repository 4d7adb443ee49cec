"""Frames from anything that FFmpeg opens: files, network streams, cameras, test patterns."""

import itertools
import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from types import TracebackType
from typing import Any, Self, cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideData
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streams.address import Address, SourceKind
from streams.arrival_clock import CLOCKLESS_FORMATS, TIME_BASE, ArrivalClock
from streams.errors import SourceTimeout, SourceUnreadable
from streams.feed import Feed
from streams.foreign import translated
from streams.frame import Frame
from streams.info import SourceInfo, SourceStats
from streams.sender_clock import SenderClock

_MAX_FPS = 1000  # above this the "rate" of a container is its clock, not its frames
_MAX_ARRIVALS = 64  # packets that a decoder may hold back before it gives their frames
_RETRY_S = 0.002
_NO_PROTOCOL = "none"
# These mark packets as corrupt at every joint or lost piece: what is left, the decoder judges.
# Elsewhere the mark means that the file ends in the middle of the packet.
_MARKS_LIGHTLY = ("mpegts", "hls", "rtsp")


class AvSource:
    """Frames of one FFmpeg input, decoded in order, upright, in RGB.

    The first frame is decoded while opening, so an open source is one that can be decoded. A
    packet that cannot be decoded is counted in `stats.corrupt_packets` and skipped. A size that
    changes mid-stream changes `Frame.image`, nothing else. `pts` passes through as it is; a live
    source without a clock gets one from when its data arrived.

    Opening has two steps (connect, then find the streams), each bound by `open_timeout_s`;
    every read is bound by `read_timeout_s`. The look-up of a host name is bound by the system.

    Raises:
        StreamError: While opening or while iterating; the source is then at its end.
    """

    def __init__(
        self,
        address: Address,
        *,
        stream: str,
        open_timeout_s: float,
        read_timeout_s: float,
        feed: Feed | None = None,
    ) -> None:
        """Open it.

        Args:
            address: What to open.
            stream: The name that its frames carry.
            open_timeout_s: For each step of opening.
            read_timeout_s: For each read.
            feed: Gives the bytes, in place of the address; `close` closes it, too.
        """
        self.stats = SourceStats()
        self._address = address
        self._stream = stream
        self._read_timeout_s = read_timeout_s
        self._arrived_ns: dict[int, int] = {}
        self._newest_ns = 0
        self._newest_monotonic_ns = 0
        self._arrival_clock: ArrivalClock | None = None
        self._feed = feed
        self._sender_clock = SenderClock()
        self._reformatter = VideoReformatter()
        self._orientation = _Orientation()
        with translated(address, open_timeout_s):
            if feed is None:
                self._container = _open(address, open_timeout_s, read_timeout_s)
            else:
                self._container = _open_feed(feed, address, open_timeout_s)
        try:
            self._video = _video_stream(self._container, address)
            self._live = self._is_live()
            if self._live and self._container.format.name in CLOCKLESS_FORMATS:
                self._arrival_clock = ArrivalClock()
            self._video.thread_type = "SLICE" if self._live else "AUTO"
            decoded = self._decoded_frames()
            first = next(decoded, None)
            if first is None:
                raise SourceUnreadable(
                    f"no frame of {address.shown} can be decoded", "it is empty or damaged"
                )
            self.info = self._describe(first)
        except BaseException:
            self._container.close()
            raise
        self._closed = False
        self._frames = self._until_closed(itertools.chain((first,), decoded))

    def _is_live(self) -> bool:
        kind, asked = self._address.kind, self._address.settings.live
        if kind is not SourceKind.NETWORK:
            return kind is SourceKind.CAMERA
        if asked is not None:
            return asked
        if self._feed is not None and self._feed.live is not None:
            return self._feed.live
        return not self._container.duration and not self._video.frames

    def _describe(self, first: Frame) -> SourceInfo:
        height, width = first.image.shape[:2]
        rate = self._video.average_rate or self._video.guessed_rate
        fps = Fraction(rate) if rate and rate <= _MAX_FPS else None
        if self._arrival_clock is not None:
            fps = None
        frame_count = self._video.frames or None
        return SourceInfo(self._address.shown, width, height, fps, frame_count, self._live)

    def _until_closed(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        while not self._closed:  # a closed container must not be read: FFmpeg would crash
            frame = next(frames, None)
            if frame is None:
                return
            self.stats.frames += 1
            yield frame

    def _decoded_frames(self) -> Iterator[Frame]:
        seq = 0
        picture_s = time.monotonic()
        with translated(self._address, self._read_timeout_s):
            for packet in self._packets():
                for picture in self._decode(packet):
                    yield self._frame(picture, seq)
                    seq += 1
                    picture_s = time.monotonic()
                if self._live and time.monotonic() - picture_s > self._read_timeout_s:
                    raise SourceTimeout(
                        f"no picture from {self._address.shown} in {self._read_timeout_s:g} s",
                        "it sends data that cannot be decoded",
                    )

    def _packets(self) -> "Iterator[Packet[Stream]]":
        """Yield packets in stream order; ask a device that has none yet until it has one.

        A live source gives those of its other streams too: while its sound goes on, FFmpeg itself
        does not notice that its pictures stopped.
        """
        streams = list(self._container.streams) if self._live else [self._video]
        asked_s = time.monotonic()
        self._renew_patience()
        while True:
            try:
                for packet in self._container.demux(streams):
                    yield packet
                    asked_s = time.monotonic()
                    self._renew_patience()
                return
            except BlockingIOError:
                if time.monotonic() - asked_s > self._read_timeout_s:
                    raise
                time.sleep(_RETRY_S)

    def _renew_patience(self) -> None:
        if self._feed is not None:
            self._feed.patience.renew(self._read_timeout_s)

    def _decode(self, packet: "Packet[Stream]") -> list[VideoFrame]:
        if packet.stream.index != self._video.index:
            return []
        self._note_arrival(packet)
        if packet.is_corrupt and self._container.format.name not in _MARKS_LIGHTLY:
            self.stats.corrupt_packets += 1
            return []
        started_s = time.perf_counter()
        try:
            return self._video.decode(packet)
        except av.error.InvalidDataError:
            self.stats.corrupt_packets += 1
            return []
        finally:
            self.stats.decode_s += time.perf_counter() - started_s

    def _note_arrival(self, packet: "Packet[Stream]") -> None:
        if packet.size == 0:  # the packet that flushes the decoder at the end
            return
        self._newest_ns = time.time_ns()
        self._newest_monotonic_ns = time.monotonic_ns()
        self._sender_clock.note(self._container, packet)
        if packet.pts is not None:
            self._arrived_ns[packet.pts] = self._newest_ns
        if len(self._arrived_ns) > _MAX_ARRIVALS:
            del self._arrived_ns[next(iter(self._arrived_ns))]

    def _frame(self, picture: VideoFrame, seq: int) -> Frame:
        started_s = time.perf_counter()
        pts = picture.pts
        captured_ns = self._newest_ns if pts is None else self._arrived_ns.pop(pts, self._newest_ns)
        sender_ns = self._sender_clock.at_ns(pts, picture.time_base)
        rgb = self._reformatter.reformat(picture, format="rgb24").to_ndarray()
        image = self._orientation.upright(np.asarray(rgb, np.uint8), picture)
        self.stats.decode_s += time.perf_counter() - started_s
        time_base = picture.time_base
        if self._arrival_clock is not None:
            pts, time_base = self._arrival_clock.pts(self._newest_monotonic_ns), TIME_BASE
        return Frame(self._stream, seq, pts, time_base, captured_ns, image, sender_ns)

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Close the input; no more frames come. Call it from the thread that iterates."""
        self._closed = True
        self._container.close()
        if self._feed is not None:
            self._feed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(address: Address, open_timeout_s: float, read_timeout_s: float) -> InputContainer:
    # "file:" keeps a name such as "a:b.mp4" from being taken for a protocol.
    prefix = "file:" if address.kind is SourceKind.PATH else ""
    options = dict(address.options)
    if address.protocols:  # what it refers to, as a playlist does, is opened with no others
        options["protocol_whitelist"] = address.protocols
    started_s = time.monotonic()
    try:
        return av.open(
            prefix + address.location,
            format=address.format,
            options=options,
            timeout=(open_timeout_s, read_timeout_s),
            metadata_errors="replace",
        )
    except av.error.InvalidDataError:
        if address.kind is SourceKind.NETWORK and time.monotonic() - started_s >= open_timeout_s:
            # FFmpeg takes an RTSP greeting that it gave up waiting for as bad data.
            raise TimeoutError(f"interrupted after {open_timeout_s:g} s") from None
        raise


def _open_feed(feed: Feed, address: Address, open_timeout_s: float) -> InputContainer:
    feed.patience.renew(open_timeout_s)
    container = av.open(
        cast(Any, feed),  # PyAV's type of a file has more methods than it calls
        mode="r",
        format=feed.format,
        options=dict(address.options) | {"protocol_whitelist": _NO_PROTOCOL},
        metadata_errors="replace",
    )
    return cast(InputContainer, container)


def _video_stream(container: InputContainer, address: Address) -> VideoStream:
    if container.format.name == "tty":  # FFmpeg draws any .txt file as a picture
        raise SourceUnreadable(f"not a video but text: {address.shown}", "give a video")
    video = container.streams.best("video")
    if not isinstance(video, VideoStream) or video.disposition & Disposition.attached_pic:
        raise SourceUnreadable(f"no video in {address.shown}", "give a source with pictures")
    if video.codec_context is None:
        raise SourceUnreadable(
            f"no decoder for the video of {address.shown}", "convert it to H.264"
        )
    return video


class _Orientation:
    """Turns and mirrors pictures by quarter turns, as their display matrix says.

    The matrix is read only where the angle differs from that of the picture before: reading it
    ties a picture into a cycle of references, which holds its memory until Python looks for cycles.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self._transposed = False
        self._steps_yx = (1, 1)

    def upright(self, image_hwc: NDArray[np.uint8], picture: VideoFrame) -> NDArray[np.uint8]:
        """Return the image of `picture` as it is to be seen, C-contiguous."""
        if picture.rotation != self._angle:
            self._angle = picture.rotation
            self._read(picture)
        if self._transposed:
            image_hwc = image_hwc.transpose(1, 0, 2)
        down, across = self._steps_yx
        return np.ascontiguousarray(image_hwc[::down, ::across])

    def _read(self, picture: VideoFrame) -> None:
        self._transposed, self._steps_yx = False, (1, 1)
        side_data = cast(Mapping[str, SideData], picture.side_data)  # PyAV types it as a dictionary
        if "DISPLAYMATRIX" not in side_data:
            return
        matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)
        # Shown x = a*x + c*y and shown y = b*x + d*y, in 16.16 fixed point.
        a, b, c, d = (int(np.rint(matrix[i] / 65536)) for i in (0, 1, 3, 4))
        if a == d == 0 and b and c:
            self._transposed, a, d = True, c, b
        self._steps_yx = (-1 if d < 0 else 1, -1 if a < 0 else 1)
