"""Pictures of a recording's frames, decoded from its videos in order."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from streams.errors import SourceUnreadable
from streams.frame import Frame
from streams.sources.registry import Source, open_source
from tracker.protocol.data import FrameStamp
from tracker.protocol.recording import FrameNote, SegmentNote
from tracker.replay.recording import Recording, segment_note
from tracker.replay.times import presentation_s

_NEAR_S = 0.001  # Matroska counts milliseconds
_LATE_NS = 5 * 10**9  # a frame may be noted so long before its segment says that it began


class RecordedPictures:
    """Finds the pictures of frames, whose order must be that in which they were tracked.

    Attributes:
        unreadable: Videos of which nothing can be decoded; they count as without pictures.
    """

    def __init__(self, recording: Recording) -> None:
        self.unreadable: list[Path] = []
        self._left = iter(recording.segments)
        self._ahead: list[_Video] = []  # the current video, and what was looked at after it

    def find(self, note: FrameNote | FrameStamp) -> Frame | None:
        """The frame as its video has it, with the video's own times; None where it has it not.

        Raises:
            StreamError: A video cannot be read.
        """
        at_s = presentation_s(note)
        if at_s is None:
            return None
        for index, video in enumerate(self._candidates(note.captured_ns)):
            if video.is_ahead(at_s):
                for passed in self._ahead[:index]:
                    passed.close()
                del self._ahead[:index]
                return video.picture(at_s)
        return None

    def _candidates(self, captured_ns: int) -> "Iterator[_Video]":
        """The current video, and those after it that had begun by then."""
        for video in list(self._ahead):
            if video.note.began_ns <= captured_ns + _LATE_NS:
                yield video
        while (following := self._next()) is not None:
            self._ahead.append(following)
            if following.note.began_ns > captured_ns + _LATE_NS:
                return
            yield following

    def _next(self) -> "_Video | None":
        if self._ahead and self._ahead[-1].is_unused and len(self._ahead) > 1:
            return None  # it is enough to look one video ahead
        for segment in self._left:
            note = segment_note(segment)
            if note is not None and segment.video is not None:
                video = _Video(segment.video, note)
                if video.is_empty:
                    self.unreadable.append(segment.video)
                return video
        return None

    def close(self) -> None:
        """Close what is open."""
        for video in self._ahead:
            video.close()


class _Video:
    """Video of one segment; times are seconds on the source's clock."""

    def __init__(self, path: Path, note: SegmentNote) -> None:
        self.note = note
        self._offset_s = note.first_dts * Fraction(*note.time_base)
        self._times_s = np.array([float(at_s + self._offset_s) for at_s in _packet_times_s(path)])
        self._source = _opened(path)
        self._frames = iter(()) if self._source is None else iter(self._source)
        self._shown_s = float("-inf")
        self._waiting: Frame | None = None

    @property
    def is_empty(self) -> bool:
        """True if there is no picture in it, or none that can be decoded."""
        return self._source is None or len(self._times_s) == 0

    @property
    def is_unused(self) -> bool:
        """True if no picture of it was asked for."""
        return self._shown_s == float("-inf")

    def is_ahead(self, at_s: Fraction) -> bool:
        """True if it has a picture of that time, after those that were asked for."""
        if float(at_s) <= self._shown_s or self.is_empty:
            return False
        return bool(np.abs(self._times_s - float(at_s)).min() < _NEAR_S)

    def picture(self, at_s: Fraction) -> Frame | None:
        """The frame of a time; None where it cannot be decoded."""
        self._shown_s = float(at_s)
        while (frame := self._waiting or next(self._frames, None)) is not None:
            self._waiting = None
            shown_s = self._time_s(frame)
            if abs(shown_s - float(at_s)) < _NEAR_S:
                return frame
            if shown_s > float(at_s):
                self._waiting = frame
                return None
        return None

    def _time_s(self, frame: Frame) -> float:
        assert frame.pts is not None and frame.time_base is not None
        return float(frame.pts * frame.time_base + self._offset_s)

    def close(self) -> None:
        """Close it."""
        if self._source is not None:
            self._source.close()


def _opened(path: Path) -> Source | None:
    """The video; None where its first picture cannot be decoded, as after a power cut."""
    try:
        return open_source(str(path))
    except SourceUnreadable:
        return None


def _packet_times_s(path: Path) -> list[Fraction]:
    """Presentation times of the packets of a video, as far as it can be read."""
    times_s = []
    with suppress(av.error.FFmpegError), av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size and packet.pts is not None:
                times_s.append(packet.pts * packet.time_base)
    return times_s
