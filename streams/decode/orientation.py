"""Quarter turns and mirroring of decoded pictures, read from their display matrices."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import cast

import av.error
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, SideDataContainer
from av.video.frame import VideoFrame
from numpy.typing import NDArray

_side_data_of = cast(Callable[[VideoFrame], Iterable[SideData]], SideDataContainer)  # as it is

_DISPLAY_MATRIX = 6  # AV_FRAME_DATA_DISPLAYMATRIX
_KINDS = 64  # more kinds of side data than FFmpeg knows


class Orientation:
    """Orientation of a stream's pictures: EXIF, display matrix of the container, or H.264 SEI.

    The matrix is read at key frames and where the angle differs from that of the picture before.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self.transposed = False
        self._steps_yx = (1, 1)
        self._reader = _MatrixReader()

    def upright(self, image_hwc: NDArray[np.uint8], picture: VideoFrame) -> NDArray[np.uint8]:
        """Return the image of `picture` as it is to be seen, C-contiguous."""
        angle = _angle(picture)
        if picture.key_frame or angle != self._angle:
            self._angle = angle
            self._turn_as(self._reader.read(picture))
        if self.transposed:
            image_hwc = image_hwc.transpose(1, 0, 2)
        down, across = self._steps_yx
        return np.ascontiguousarray(image_hwc[::down, ::across])

    def _turn_as(self, matrix: NDArray[np.int32] | None) -> None:
        self.transposed, self._steps_yx = False, (1, 1)
        if matrix is None:
            return
        # Shown x = a*x + c*y and shown y = b*x + d*y, in 16.16 fixed point.
        a, b, c, d = (int(matrix[index]) for index in (0, 1, 3, 4))
        if abs(b) + abs(c) > abs(a) + abs(d):
            self.transposed, a, d = True, c, b
        self._steps_yx = (-1 if d < 0 else 1, -1 if a < 0 else 1)


def _angle(picture: VideoFrame) -> int | None:
    try:
        return picture.rotation
    except (ValueError, OverflowError):  # a matrix of zeros has no angle
        return None


class _MatrixReader:
    """Reads the display matrix of a picture and no other side data.

    `VideoFrame.side_data` is never read: PyAV frees the metadata of side data a second time,
    which ends the process (the colour profile of a PNG has some), and it raises where it has no
    name for a kind of side data (EXIF). A filter graph takes every other kind away first, and
    the wrapper that is made by hand ties no picture into a cycle of references.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._shape: tuple[str, int, int] | None = None

    def read(self, picture: VideoFrame) -> NDArray[np.int32] | None:
        """Return the nine numbers of the matrix; None where the picture has none."""
        shape = (picture.format.name, picture.width, picture.height)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _matrix_only(picture), shape
        self._graph.vpush(picture)
        try:
            stripped = self._graph.vpull()
        except av.error.BlockingIOError:  # it has no matrix, and was not let through
            return None
        found = [np.frombuffer(bytes(item), np.int32) for item in _side_data_of(stripped)]
        return found[0] if found and found[0].size == 9 else None


def _matrix_only(picture: VideoFrame) -> Graph:
    """Return a graph that lets pictures like this one through where they have a matrix."""
    graph = Graph()
    graph.threads = 1
    kind, width, height = picture.format, picture.width, picture.height
    steps = [
        graph.add_buffer(width=width, height=height, format=kind, time_base=Fraction(1, 1000)),
        graph.add("sidedata", f"mode=select:type={_DISPLAY_MATRIX}"),
        *(
            graph.add("sidedata", f"mode=delete:type={kind}")
            for kind in range(_KINDS)
            if kind != _DISPLAY_MATRIX
        ),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    return graph
