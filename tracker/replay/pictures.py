"""Pictures of a recording's frames, decoded from its videos in order."""

from collections import deque
from collections.abc import Iterator, Sequence
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
_SAME_NS = 5 * 10**8  # a frame arrived with its packet: so near
_PAUSE_NS = 2 * 10**9  # a source that goes on has its next frame so much later at most
_EARLY_NS = 5 * 10**9  # a frame may be noted so long before its segment says that it began
_LATE_NS = 60 * 10**9  # and so long after the next one did


class RecordedPictures:
    """Finds the pictures of frames, whose order must be that in which they were tracked.

    A source that is opened again may give the same times again: of several videos with a picture of
    a time, it is that of the one that was written when the frame arrived. While a source goes on,
    a video that begins before its newest frame is of a later pass: what a crash left unwritten is
    in none.

    Attributes:
        unreadable: Videos of which nothing can be decoded; they count as without pictures.
    """

    def __init__(self, recording: Recording) -> None:
        self.unreadable: list[Path] = []
        self._left = iter(recording.segments)
        self._videos: deque[_Video] = deque()  # the current one, and those after it
        self._current: _Video | None = None  # the one that the newest picture is from
        self._newest: tuple[Fraction, int] | None = None  # time and arrival of the newest frame

    def find(self, note: FrameNote | FrameStamp) -> Frame | None:
        """The frame as its video has it, with the video's own times; None where it has it not.

        Raises:
            StreamError: A video cannot be read.
        """
        at_s = presentation_s(note)
        if at_s is None:
            return None
        self._look_around(note.captured_ns)
        having = self._having(at_s, note.captured_ns)
        self._newest = (at_s, note.captured_ns)
        if not having:
            return None
        found = min(having, key=lambda video: video.off_ns(at_s, note.captured_ns))
        self._current = found
        while self._videos[0] is not found:
            self._videos.popleft().close()
        frame = found.picture(at_s)
        if found.is_broken:
            self.unreadable.append(found.path)
            self._videos.popleft()
        return frame

    def _having(self, at_s: Fraction, captured_ns: int) -> list["_Video"]:
        """The videos that may have a frame's picture: none of a later pass of the source."""
        having = []
        goes_on = self._goes_on(at_s, captured_ns)
        for video in self._videos:
            is_current = video is self._current
            if goes_on and not is_current and self._is_of_later_pass(video, at_s, captured_ns):
                break
            if video.note.began_ns <= captured_ns + _EARLY_NS and video.is_ahead(at_s):
                having.append(video)
        return having

    def _goes_on(self, at_s: Fraction, captured_ns: int) -> bool:
        """True if the frame follows the newest one without a pause of the source."""
        if self._newest is None:
            return False
        newest_s, newest_ns = self._newest
        pause_ns = captured_ns - newest_ns - (at_s - newest_s) * 10**9
        return at_s > newest_s and pause_ns < _PAUSE_NS

    def _is_of_later_pass(self, video: "_Video", at_s: Fraction, captured_ns: int) -> bool:
        """True if a video begins before the newest frame, and arrived at another time."""
        assert self._newest is not None
        return video.first_s <= self._newest[0] and video.off_ns(at_s, captured_ns) > _SAME_NS

    def _look_around(self, captured_ns: int) -> None:
        """Have the videos that may hold a frame that arrived then."""
        while not self._videos or self._videos[-1].note.began_ns <= captured_ns + _EARLY_NS:
            following = self._next()
            if following is None:
                break
            self._videos.append(following)
        while len(self._videos) > 1 and self._videos[1].note.began_ns < captured_ns - _LATE_NS:
            self._videos.popleft().close()

    def _next(self) -> "_Video | None":
        """The next video that has packets."""
        for segment in self._left:
            note = segment_note(segment)
            if note is None or segment.video is None:
                continue
            times_s = _packet_times_s(segment.video)
            if times_s:
                return _Video(segment.video, note, times_s)
            self.unreadable.append(segment.video)
        return None

    def close(self) -> None:
        """Close what is open."""
        for video in self._videos:
            video.close()


class _Video:
    """Video of one segment, opened when its first picture is asked for.

    Times are seconds on the source's clock.

    Attributes:
        path: Its file.
        note: What its segment begins with.
        is_broken: It cannot be decoded.
    """

    def __init__(self, path: Path, note: SegmentNote, times_s: Sequence[Fraction]) -> None:
        """Take a file whose packets have these times on its own clock."""
        self.path = path
        self.note = note
        self.is_broken = False
        self._offset_s = note.first_dts * Fraction(*note.time_base)
        self._times_s = np.array([float(at_s + self._offset_s) for at_s in times_s])
        self._source: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self._shown_s = float("-inf")
        self._waiting: Frame | None = None

    @property
    def first_s(self) -> float:
        """The least time of its pictures."""
        return float(self._times_s.min())

    def is_ahead(self, at_s: Fraction) -> bool:
        """True if it has a picture of that time, after those that were asked for."""
        return float(at_s) > self._shown_s and bool(
            np.abs(self._times_s - float(at_s)).min() < _NEAR_S
        )

    def off_ns(self, at_s: Fraction, captured_ns: int) -> int:
        """How far from a frame the packet of its time arrived, if the source keeps time."""
        since_first_s = float(at_s) - self.first_s
        return abs(self.note.began_ns + round(since_first_s * 1e9) - captured_ns)

    def picture(self, at_s: Fraction) -> Frame | None:
        """The frame of a time; None where it cannot be decoded."""
        if self._source is None:
            self._open()
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

    def _open(self) -> None:
        """Open it; after a power cut its first picture may be there in part only."""
        try:
            self._source = open_source(str(self.path))
        except SourceUnreadable:
            self.is_broken = True
        else:
            self._frames = iter(self._source)

    def _time_s(self, frame: Frame) -> float:
        assert frame.pts is not None and frame.time_base is not None
        return float(frame.pts * frame.time_base + self._offset_s)

    def close(self) -> None:
        """Close it."""
        if self._source is not None:
            self._source.close()


def _packet_times_s(path: Path) -> list[Fraction]:
    """Presentation times of the packets of a video, as far as it can be read."""
    times_s = []
    with suppress(av.error.FFmpegError), av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size and packet.pts is not None:
                times_s.append(packet.pts * packet.time_base)
    return times_s
