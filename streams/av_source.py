"""Frames from anything that FFmpeg opens: files, network streams, cameras, test patterns."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from streams.address import Address, SourceKind
from streams.ending import Progress, damage_of_download, damage_of_file, is_finite, reads_past
from streams.errors import SourceTimeout, SourceUnreadable
from streams.foreign import translated
from streams.frame import Frame
from streams.info import SourceInfo, SourceStats
from streams.orientation import Orientation
from streams.sender_clock import SenderClock
from streams.video_track import choose_video, refuse_parts, shown_frames

_MAX_FPS = 1000  # above this the "rate" of a container is its clock, not its frames
_MAX_ARRIVALS = 64  # packets that a decoder may hold back before it gives their frames
_RETRY_S = 0.002
_MAX_PIXELS = 2**27  # of a picture, 400 MB of RGB; a few bytes can claim far more
_MAX_BARREN_PACKETS = 5000  # in a row without a picture: nothing is to come
_DECODER_OPTIONS = {"max_pixels": str(_MAX_PIXELS)}
# These mark packets as corrupt at every joint or lost piece: what is left, the decoder judges.
# Elsewhere the mark means that the file ends in the middle of the packet.
_MARKS_LIGHTLY = ("mpegts", "hls", "rtsp")


class AvSource:
    """Frames of one FFmpeg input, decoded in order, upright, in RGB.

    The first frame is decoded while opening, so an open source is one that can be decoded. A
    packet or picture that the decoder refuses, for whatever reason, is counted in
    `stats.corrupt_packets` and skipped. A file whose data end in damage ends there, with every
    picture before it, and `stats.damage` tells it; where the disk or the network fails, and where
    a live source ends in an error, that error is raised. A size that changes mid-stream changes
    `Frame.image`, nothing else. `pts` passes through as it is.

    Opening has two steps (connect, then find the streams), each bound by `open_timeout_s`;
    every read is bound by `read_timeout_s`. The look-up of a host name is bound by the system.

    Raises:
        StreamError: While opening or while iterating; the source is then at its end.
    """

    def __init__(
        self, address: Address, *, stream: str, open_timeout_s: float, read_timeout_s: float
    ) -> None:
        self.stats = SourceStats()
        self._address = address
        self._stream = stream
        self._read_timeout_s = read_timeout_s
        self._arrived_ns: dict[int, int] = {}
        self._newest_ns = 0
        self._sender_clock = SenderClock()
        self._reformatter = VideoReformatter()
        self._orientation = Orientation()
        self._refusal = ""  # what the decoder said last
        with translated(address, open_timeout_s):
            self._container = _open(address, open_timeout_s, read_timeout_s)
        try:
            self._video = choose_video(self._container, address)
            self._live = address.kind is SourceKind.CAMERA or (
                address.kind is SourceKind.NETWORK and self._container.duration is None
            )
            # Not by frames: those errors come when the decoder is emptied, and PyAV then stops.
            self._decoder = self._video.codec_context
            self._decoder.thread_type = "SLICE"
            self._decoder.options = dict(_DECODER_OPTIONS)
            decoded = self._decoded_frames()
            first = next(decoded, None)
            if first is None:
                raise self._unreadable(f"no frame of {address.shown} can be decoded")
            self.info = self._describe(first)
        except BaseException:
            self._container.close()
            raise
        self._closed = False
        self._frames = self._until_closed(itertools.chain((first,), decoded))

    def _unreadable(self, message: str) -> SourceUnreadable:
        reason = self._refusal or self.stats.damage
        hint = "it is empty or damaged, or FFmpeg does not decode its kind of video"
        return SourceUnreadable(f"{message}: {reason}" if reason else message, hint)

    def _describe(self, first: Frame) -> SourceInfo:
        height, width = first.image.shape[:2]
        rate = self._video.average_rate or self._video.guessed_rate
        fps = Fraction(rate) if rate and 0 < rate <= _MAX_FPS else None
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
        pictures stopped. So does a file on a server: how far it was read tells what ended it.
        """
        local = self._address.kind is SourceKind.PATH
        streams = [self._video] if local else list(self._container.streams)
        asked_s = time.monotonic()
        progress = Progress()
        failure: Exception | None = None
        while True:
            try:
                for packet in self._container.demux(streams):
                    if packet.size:  # PyAV's empty ones at the end; those of an AVI show no change
                        progress.note(packet)
                        yield packet
                    asked_s = time.monotonic()
            except BlockingIOError as error:
                if time.monotonic() - asked_s <= self._read_timeout_s:
                    time.sleep(_RETRY_S)
                    continue
                failure = error
            except IndexError:  # PyAV's, at the end, where a stream came up that was not announced
                pass
            except (av.error.FFmpegError, OSError) as error:
                failure = error
            break
        yield self._flush()
        with translated(self._address, self._read_timeout_s):
            self.stats.damage = self._damage(failure, progress)

    def _damage(self, failure: Exception | None, progress: Progress) -> str | None:
        """Return what damage ends a finite source; raise what ends another one.

        Raises:
            Exception: `failure`, or what the check of the disk or the server gave.
        """
        if not is_finite(self._address, live=self._live) or isinstance(failure, BlockingIOError):
            if failure is not None:
                raise failure
            return None
        if self._address.kind is SourceKind.PATH:
            return damage_of_file(failure, Path(self._address.location), progress)
        return damage_of_download(
            failure,
            self._container,
            self._address,
            progress,
            was_cut_off=lambda: self._was_cut_off(progress),
        )

    def _was_cut_off(self, progress: Progress) -> bool:
        """Ask the server again: whether it was the connection that ended, not the data."""
        raw = replace(self._address, format="data")  # the plain bytes, whatever they hold
        return self._reads_past(self._address, progress.end_bytes) or not self._reads_past(
            raw, progress.end_bytes + progress.largest_bytes
        )

    def _reads_past(self, address: Address, end_bytes: int) -> bool:
        until_s = time.monotonic() + self._read_timeout_s
        with _open(address, self._read_timeout_s, self._read_timeout_s) as second:
            return reads_past(second.demux(), end_bytes, until_s=until_s)

    def _decode(self, packet: "Packet[Stream]") -> list[VideoFrame]:
        if packet.stream.index != self._video.index:
            return []
        if packet.size:
            self._note_arrival(packet)
        if packet.is_corrupt and self._container.format.name not in _MARKS_LIGHTLY:
            self.stats.corrupt_packets += 1
            return []
        refuse_parts(self._container, packet, self._address)
        started_s = time.perf_counter()
        try:
            pictures = self._given_to_decoder(packet)
        except Exception as error:  # whatever the decoder says, the source goes on
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
            # It holds an earlier packet still, or takes itself to be at its end: begin anew.
            self._decoder.flush_buffers()
            return self._decoder.decode(packet)

    def _skip(self, error: Exception) -> None:
        self.stats.corrupt_packets += 1
        self._refusal = getattr(error, "strerror", None) or str(error) or type(error).__name__

    def _note_arrival(self, packet: "Packet[Stream]") -> None:
        self._newest_ns = time.time_ns()
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
            rgb = self._reformatter.reformat(picture, format="rgb24").to_ndarray()
            image = self._orientation.upright(np.asarray(rgb, np.uint8), picture)
        except Exception as error:  # a format that FFmpeg cannot convert, or too little memory
            self._skip(error)
            return None
        finally:
            self.stats.decode_s += time.perf_counter() - started_s
        return Frame(self._stream, seq, pts, picture.time_base, captured_ns, image, sender_ns)

    def __iter__(self) -> Iterator[Frame]:
        """Return the one iterator over the frames; a second call goes on where it stands."""
        return self._frames

    def close(self) -> None:
        """Close the input; no more frames come. Call it from the thread that iterates."""
        self._closed = True
        self._container.close()

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
    started_s = time.monotonic()
    try:
        return av.open(
            prefix + address.location,
            format=address.format,
            options=dict(address.options) | _DECODER_OPTIONS,  # to find the streams
            timeout=(open_timeout_s, read_timeout_s),
            metadata_errors="replace",
        )
    except av.error.InvalidDataError:
        if address.kind is SourceKind.NETWORK and time.monotonic() - started_s >= open_timeout_s:
            # FFmpeg takes an RTSP greeting that it gave up waiting for as bad data.
            raise TimeoutError(f"interrupted after {open_timeout_s:g} s") from None
        raise
