"""Frames of a file by their numbers, in any order, as viewers ask for them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

from streams.errors import SourceUnreadable, StreamError
from streams.frame import Frame
from streams.sources.ffmpeg import AvSource
from streams.sources.images import ImageFolderSource
from streams.sources.registry import Source

#: Frames that are rather decoded than jumped over.
_NEAR_FRAMES = 48


class FrameReader:
    """Reads frames by number; the one after the last is read at once.

    A frame of a video whose times are known, strictly ascending, is found by its time from the key
    frame before it. Others are found by decoding from the start, so that numbers are always those
    of the source itself. One thread at a time.
    """

    def __init__(self, open_source: Callable[[], Source], times: Sequence[int] = ()) -> None:
        """Read what `open_source` opens.

        Args:
            open_source: Opens the source at its first frame.
            times: `pts` of each frame by number, as far as they are known.
        """
        self._open = open_source
        self._times = times if _is_ascending(times) else ()
        self._source: Source | None = None
        self._frames: Iterator[Frame] = iter(())
        self._next = 0  # number of the frame that comes next
        self._waiting: Frame | None = None

    def read(self, number: int) -> Frame:
        """The frame of a number.

        Raises:
            SourceUnreadable: There is none, or it is damaged.
            StreamError: The source cannot be opened or read.
        """
        if self._source is None:
            self._reopen()
        if isinstance(self._source, ImageFolderSource):
            return self._picture(self._source, number)
        if not self._next <= number <= self._next + _NEAR_FRAMES:
            self._go_to(number)
        while (frame := self._take()) is not None:
            if frame.seq >= number:
                break
        if frame is None or frame.seq != number:
            raise SourceUnreadable(f"there is no frame {number}", "choose another")
        return frame

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()
        self._source = None

    def _go_to(self, number: int) -> None:
        """Have the next frames be those up to this one."""
        is_known = number < len(self._times)
        if is_known and self._found(number):
            return
        if is_known or number < self._next:
            self._reopen()

    def _reopen(self) -> None:
        self.close()
        self._source = self._open()
        self._frames = iter(self._source)
        self._next, self._waiting = 0, None

    def _found(self, number: int) -> bool:
        """True if the frame was found by its time; it waits then."""
        source = self._source
        if not isinstance(source, AvSource):
            return False
        wanted = self._times[number]
        with suppress(StreamError):
            source.seek(wanted)
            for frame in source:
                if frame.pts is None or frame.pts > wanted:
                    return False
                if frame.pts == wanted:
                    self._frames, self._next = iter(source), number
                    self._waiting = replace(frame, seq=number)
                    return True
        return False

    def _take(self) -> Frame | None:
        frame, self._waiting = self._waiting, None
        if frame is None:
            frame = next(self._frames, None)
            if frame is None:
                self.close()
                return None
            if isinstance(self._source, AvSource):
                frame = replace(frame, seq=self._next)
        self._next = frame.seq + 1
        return frame

    def _picture(self, source: ImageFolderSource, number: int) -> Frame:
        frame = source.picture(number)
        if frame is None:
            raise SourceUnreadable(f"there is no picture {number}, or it is damaged", "repair it")
        return frame


def _is_ascending(times: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(times))
