"""Frames of a project's source by their numbers."""

from collections.abc import Callable

from streams.errors import StreamError
from streams.frame import Frame
from streams.random_access import FrameReader
from tracker.project.folder import Project


class ProjectFrames:
    """Frames in any order, found by their times as soon as a scan knows these; the last is kept.

    One thread at a time.
    """

    def __init__(self, project: Project, times: Callable[[], tuple[int, ...]] = tuple) -> None:
        """Read a project's source.

        Args:
            project: The project.
            times: `pts` of each frame; asked for while they are not known.
        """
        self._project = project
        self._times = times
        self._reader = FrameReader(project.open_source)
        self._knows_times = False
        self._last: Frame | None = None

    def read(self, number: int) -> Frame:
        """The frame of a number.

        Raises:
            StreamError: There is no such frame, or it cannot be read.
        """
        if self._last is None or self._last.seq != number:
            self._last = self._found(number)
        return self._last

    def close(self) -> None:
        """Close the source."""
        self._last = None
        self._reader.close()

    def _found(self, number: int) -> Frame:
        if not self._knows_times and (times := self._times()):
            self._reader.close()
            self._reader, self._knows_times = FrameReader(self._project.open_source, times), True
        try:
            return self._reader.read(number)
        except StreamError:
            self._reader.close()
            raise
