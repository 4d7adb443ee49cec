"""Frames from anything that FFmpeg opens: files, network streams, cameras, test patterns."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streams.access.formats import SELF_CONTAINED
from streams.closing import Closing
from streams.decode.arrival_clock import CLOCKLESS_FORMATS, TIME_BASE, ArrivalClock
from streams.decode.ending import damage_of_file, damage_of_stream, is_finite
from streams.decode.ffmpeg_errors import translated
from streams.decode.image import TooLarge, check_size, too_large
from streams.decode.memory import check_memory
from streams.decode.orientation import Orientation
from streams.decode.sender_clock import SenderClock
from streams.decode.threads import ffmpeg_threads
from streams.decode.video_track import choose_video, refuse_parts, shown_frames
from streams.errors import SourceTimeout, SourceTooLarge, SourceUnreadable
from streams.frame import Frame
from streams.info import MAX_PIXELS, SourceInfo, SourceStats
from streams.packet_tap import PacketTap, TappedVideo
from streams.sources.base import Address, SourceKind
from streams.sources.feed import Feed

#: Opens a URL that FFmpeg asks for, with flags and options of its own; returns a file.
OpenPiece = Callable[[str, int, Mapping[str, str]], object]

_MAX_FPS = 1000  # above this the "rate" of a container is its clock, not its frames
_MAX_ARRIVALS = 64  # packets that a decoder may hold back before it gives their frames
_RETRY_S = 0.002
_NOTHING_ELSE = {"protocol_whitelist": "none", "format_whitelist": SELF_CONTAINED}
_RGB_CHANNELS = 3
_MAX_BARREN_PACKETS = 5000  # in a row without a picture: nothing is to come
# These mark packets as corrupt at every joint or lost piece: what is left, the decoder judges.
# Elsewhere the mark means that the file ends in the middle of the packet.
_MARKS_LIGHTLY = ("mpegts", "hls", "rtsp")


class AvSource(Closing):
    """Frames of one FFmpeg input, decoded in order, upright, in RGB.

    The first frame is decoded while opening, so an open source is one that can be decoded. A
    packet or picture that the decoder refuses, for whatever reason, is counted in
    `stats.corrupt_packets` and skipped. A file whose data end in damage ends there, with every
    picture before it, and `stats.damage` says so; where the disk or the network fails, and where
    a live source ends in an error, that error is raised. A size that changes mid-stream changes
    `Frame.image`, nothing else. `pts` passes through as it is; a live source without a clock gets
    one from when its data arrived.

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
        max_pixels: int = MAX_PIXELS,
        open_piece: OpenPiece | None = None,
        tap: PacketTap | None = None,
    ) -> None:
        """Open it.

        Args:
            address: What to open.
            stream: The name that its frames carry.
            open_timeout_s: For each step of opening.
            read_timeout_s: For each read.
            feed: Gives the bytes, in place of the address; `close` closes it, too.
            max_pixels: Of a frame; a source of larger ones is refused before they are decoded.
            open_piece: Opens the address and what it names, in place of FFmpeg.
            tap: Takes a copy of each packet before it is decoded.
        """
        self.stats = SourceStats()
        self._address = address
        self._stream = stream
        self._read_timeout_s = read_timeout_s
        self._arrived_ns: dict[int, int] = {}
        self._newest_ns = 0
        self._newest_monotonic_ns = 0
        self._arrival_clock: ArrivalClock | None = None
        self._tap = tap
        self._tapped: TappedVideo | None = None
        self._feed = feed
        self._max_pixels = max_pixels
        self._sender_clock = SenderClock()
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()
        self._refusal = ""  # what the decoder said last
        self._coded_sar: Fraction | None = None
        with translated(address, open_timeout_s):
            if feed is None:
                self._container = _open(
                    address, open_timeout_s, read_timeout_s, open_piece, max_pixels
                )
            else:
                self._container = _open_feed(feed, address, open_timeout_s, max_pixels)
        try:
            self._frames = self._until_closed(self._begin())
        except BaseException:
            self._container.close()
            raise
        self._closed = False

    def _begin(self) -> Iterator[Frame]:
        """Choose the video, prepare its decoder, and decode the first frame of those returned."""
        self._video = choose_video(self._container, self._address)
        self._live = self._is_live()
        if self._live and self._container.format.name in CLOCKLESS_FORMATS:
            self._arrival_clock = ArrivalClock()
        self._decoder = self._prepared_decoder()
        self._coded_sar = self._decoder.sample_aspect_ratio
        self._end_pts = _end_pts(self._container, self._video)
        if self._tap is not None:
            clock = None if self._arrival_clock is None else ArrivalClock()
            self._tapped = TappedVideo(self._tap, self._video, clock)
        decoded = self._decoded_frames()
        first = next(decoded, None)
        if first is None:
            raise self._unreadable(f"no frame of {self._address.shown} can be decoded")
        self.info = self._describe(first)
        return itertools.chain((first,), decoded)

    def _prepared_decoder(self) -> VideoCodecContext:
        decoder = self._video.codec_context
        # Not by frames: those errors come when the decoder is emptied, and PyAV then stops.
        decoder.thread_type = "SLICE"
        decoder.thread_count = ffmpeg_threads()
        decoder.options = _decoder_options(self._max_pixels)
        self._check_size(b"")
        return decoder

    def _is_live(self) -> bool:
        kind, asked = self._address.kind, self._address.settings.live
        if kind is not SourceKind.NETWORK:
            return kind is SourceKind.CAMERA
        if asked is not None:
            return asked
        if self._feed is not None and self._feed.live is not None:
            return self._feed.live
        return not self._container.duration and not self._video.frames

    def _unreadable(self, message: str) -> SourceUnreadable:
        reason = self._refusal or self.stats.damage
        hint = "it is empty or damaged, or FFmpeg does not decode its kind of video"
        return SourceUnreadable(f"{message}: {reason}" if reason else message, hint)

    def _describe(self, first: Frame) -> SourceInfo:
        height, width = first.image.shape[:2]
        rate = self._video.average_rate or self._video.guessed_rate
        fps = Fraction(rate) if rate and 0 < rate <= _MAX_FPS else None
        if self._arrival_clock is not None:
            fps = None
        frame_count = shown_frames(self._container, self._video)
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
        barren = 0  # packets of the video since the last picture
        picture_s = time.monotonic()
        for packet in self._packets():
            barren += packet.stream.index == self._video.index
            for picture in self._decode(packet):
                frame = self._frame(picture, seq)
                if frame is None:
                    continue
                yield frame
                seq += 1
                barren, picture_s = 0, time.monotonic()
            silent_s = time.monotonic() - picture_s
            if self._live and packet.size and silent_s > self._read_timeout_s:
                raise SourceTimeout(
                    f"no picture from {self._address.shown} in {self._read_timeout_s:g} s",
                    "it sends data that cannot be decoded",
                )
            if not self._live and barren >= _MAX_BARREN_PACKETS:
                raise self._unreadable(
                    f"{barren} packets in a row of {self._address.shown} give no picture"
                )

    def _flush(self) -> "Packet[Stream]":
        """Return the empty packet for which the decoder gives its rest."""
        packet: Packet[Stream] = Packet()
        packet.stream, packet.time_base = self._video, self._video.time_base or Fraction(1)
        return packet

    def _packets(self) -> "Iterator[Packet[Stream]]":
        """Yield packets in stream order, and an empty one at the end.

        A device that has no packet yet is asked until it has one. A live source gives the packets
        of its other streams too: while its sound goes on, FFmpeg itself does not notice that its
        pictures stopped.
        """
        streams = list(self._container.streams) if self._live else [self._video]
        asked_s = time.monotonic()
        end_bytes = 0  # where the farthest packet ends in the file
        self._renew_patience()
        failure: Exception | None = None
        while True:
            try:
                for packet in self._container.demux(streams):
                    if packet.size:  # PyAV's empty ones at the end; those of an AVI show no change
                        end_bytes = max(end_bytes, (packet.pos or 0) + packet.size)
                        yield packet
                    asked_s = time.monotonic()
                    self._renew_patience()
            except BlockingIOError as error:
                if time.monotonic() - asked_s <= self._read_timeout_s:
                    time.sleep(_RETRY_S)
                    continue
                failure = error
            except IndexError:  # PyAV's, at the end, where a stream came up that was not announced
                pass
            except (av.error.FFmpegError, OSError) as error:
                if isinstance(error, MemoryError):
                    check_memory()
                failure = error
            break
        yield self._flush()
        with translated(self._address, self._read_timeout_s):
            self.stats.damage = self._damage(failure, end_bytes)

    def _damage(self, failure: Exception | None, end_bytes: int) -> str | None:
        """Return what damage ends a finite source; raise what ends another one.

        Raises:
            Exception: `failure`, or what the check of the disk gave.
        """
        if failure is None:
            return None
        if not is_finite(self._address, live=self._live) or isinstance(failure, BlockingIOError):
            raise failure
        if self._address.kind is SourceKind.PATH and self._feed is None:
            return damage_of_file(failure, Path(self._address.location), end_bytes)
        return damage_of_stream(failure, own_connection=self._feed is not None)

    def _renew_patience(self) -> None:
        if self._feed is not None:
            self._feed.patience.renew(self._read_timeout_s)

    def _decode(self, packet: "Packet[Stream]") -> list[VideoFrame]:
        if packet.stream.index != self._video.index:
            return []
        if packet.size:
            self._note_arrival(packet)
        if packet.is_corrupt and self._container.format.name not in _MARKS_LIGHTLY:
            self.stats.corrupt_packets += 1
            return []
        refuse_parts(self._container, packet, self._address)
        if self._tapped is not None and packet.size:
            self._tapped.offer(packet, self._newest_monotonic_ns)
        started_s = time.perf_counter()
        try:
            pictures = self._given_to_decoder(packet)
        except Exception as error:  # whatever the decoder says, the source goes on
            if isinstance(error, MemoryError):
                check_memory()
            self._check_size(bytes(packet))
            self._skip(error)
            return []
        finally:
            self.stats.decode_s += time.perf_counter() - started_s
        self.stats.packets += packet.size > 0 and not packet.is_discard
        return pictures

    def _given_to_decoder(self, packet: "Packet[Stream]") -> list[VideoFrame]:
        try:
            return self._decoder.decode(packet)
        except (av.error.BlockingIOError, av.error.EOFError):
            if self._decoder.is_open:
                # It holds an earlier packet still, or takes itself to be at its end: begin again.
                self._decoder.flush_buffers()
            else:
                self._decoder.thread_count = 1  # there are no more threads to be had
            return self._decoder.decode(packet)

    def _check_size(self, refused: bytes) -> None:
        """Look whether what the decoder refuses is too large.

        Args:
            refused: The packet; that of a still picture states its size.

        Raises:
            SourceTooLarge: It is.
        """
        width, height = self._video.width, self._video.height
        try:
            if width * height > self._max_pixels:
                raise too_large(width, height, self._max_pixels)
            check_size(refused, self._max_pixels)
        except TooLarge as error:
            raise SourceTooLarge(
                f"the pictures of {self._address.shown} are too large: {error}", "scale them down"
            ) from error

    def _to_rgb(self, picture: VideoFrame) -> NDArray[np.uint8]:
        try:
            rgb = self._reformatter.reformat(picture, format="rgb24", threads=ffmpeg_threads())
        except av.error.BlockingIOError:  # there are no more threads to be had
            rgb = self._reformatter.reformat(picture, format="rgb24", threads=1)
        return np.asarray(rgb.to_ndarray(), np.uint8)

    def _skip(self, error: Exception) -> None:
        self.stats.corrupt_packets += 1
        self._refusal = getattr(error, "strerror", None) or str(error) or type(error).__name__

    def _note_arrival(self, packet: "Packet[Stream]") -> None:
        self._newest_ns = time.time_ns()
        self._newest_monotonic_ns = time.monotonic_ns()
        self._sender_clock.note(self._container, packet)
        if packet.pts is not None:
            self._arrived_ns[packet.pts] = self._newest_ns
        if len(self._arrived_ns) > _MAX_ARRIVALS:
            del self._arrived_ns[next(iter(self._arrived_ns))]

    def _frame(self, picture: VideoFrame, seq: int) -> Frame | None:
        """Return the frame of a decoded picture; None where it cannot be turned into RGB."""
        started_s = time.perf_counter()
        pts = picture.pts
        captured_ns = self._newest_ns if pts is None else self._arrived_ns.pop(pts, self._newest_ns)
        sender_ns = self._sender_clock.at_ns(pts, picture.time_base)
        try:
            image = self._orientation.upright(self._to_rgb(picture), picture)
        except Exception as error:  # a format that FFmpeg cannot convert
            if isinstance(error, MemoryError):
                check_memory(_RGB_CHANNELS * picture.width * picture.height)
            self._skip(error)
            return None
        finally:
            self.stats.decode_s += time.perf_counter() - started_s
        time_base, duration = picture.time_base, self._duration(picture)
        if self._arrival_clock is not None:
            pts, time_base = self._arrival_clock.pts(self._newest_monotonic_ns), TIME_BASE
            duration = None
        return Frame(
            self._stream,
            seq,
            pts,
            time_base,
            captured_ns,
            image,
            sender_ns,
            duration=duration,
            sample_aspect_ratio=self._sample_aspect_ratio(),
        )

    def _duration(self, picture: VideoFrame) -> int | None:
        """For how long a picture is shown, in its time base; never beyond the stream's end.

        Where a file states the times of its pictures only, FFmpeg takes their mean distance, which
        is far too long for the last one of a video that is mostly one still.
        """
        if picture.duration <= 0:
            return None
        left = None if self._end_pts is None or picture.pts is None else self._end_pts - picture.pts
        return picture.duration if left is None or left <= 0 else min(picture.duration, left)

    def _sample_aspect_ratio(self) -> Fraction:
        """Shape of the upright picture's pixels: the container's, until the coded one changes."""
        coded = self._video.codec_context.sample_aspect_ratio
        ratio = self._video.sample_aspect_ratio if coded == self._coded_sar else coded
        if ratio is None or ratio <= 0:
            return Fraction(1)
        return 1 / ratio if self._orientation.transposed else ratio

    def seek(self, pts: int) -> None:
        """Go on at the last key frame that is shown at `pts` or before.

        Frames are counted from 0 there, and the iterator is a new one. Only of files.

        Raises:
            StreamError: It cannot be moved.
        """
        with translated(self._address, self._read_timeout_s):
            self._container.seek(pts, stream=self._video)
        self._decoder.flush_buffers()
        self._frames = self._until_closed(self._decoded_frames())

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Close the input; no more frames come. Call it from the thread that iterates."""
        if self._tapped is not None:
            self._tapped.close()
        self._closed = True
        self._container.close()
        if self._feed is not None:
            self._feed.close()


def _decoder_options(max_pixels: int) -> dict[str, str]:
    return {"max_pixels": str(max_pixels)}


def _open(
    address: Address,
    open_timeout_s: float,
    read_timeout_s: float,
    open_piece: OpenPiece | None,
    max_pixels: int,
) -> InputContainer:
    # "file:" keeps a name such as "a:b.mp4" from being taken for a protocol.
    prefix = "file:" if address.kind is SourceKind.PATH else ""
    options = dict(address.options)
    if address.protocols:  # what it refers to, as a playlist does, is opened with no others
        options["protocol_whitelist"] = address.protocols
    if address.formats:
        options["format_whitelist"] = address.formats
    started_s = time.monotonic()
    try:
        return av.open(
            prefix + address.location,
            format=address.format,
            options=options | _decoder_options(max_pixels),  # to find the streams
            timeout=(open_timeout_s, read_timeout_s),
            io_open=open_piece,
            metadata_errors="replace",
        )
    except av.error.InvalidDataError:
        if address.kind is SourceKind.NETWORK and time.monotonic() - started_s >= open_timeout_s:
            # FFmpeg takes an RTSP greeting that it gave up waiting for as bad data.
            raise TimeoutError(f"interrupted after {open_timeout_s:g} s") from None
        raise


def _open_feed(
    feed: Feed, address: Address, open_timeout_s: float, max_pixels: int
) -> InputContainer:
    feed.patience.renew(open_timeout_s)
    container = av.open(
        cast(Any, feed),  # PyAV's type of a file has more methods than it calls
        mode="r",
        format=feed.format,
        options=dict(address.options) | _NOTHING_ELSE | _decoder_options(max_pixels),
        metadata_errors="replace",
    )
    return cast(InputContainer, container)


def _end_pts(container: InputContainer, video: VideoStream) -> int | None:
    """The end of the video, in units of its time base; None where the source does not say."""
    if video.duration is not None and video.start_time is not None:
        return video.start_time + video.duration
    if container.duration is not None and video.time_base is not None:
        return round(Fraction(container.duration, av.time_base) / video.time_base)
    return None
