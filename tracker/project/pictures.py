"""Pictures of a project's source for people: frames and thumbnails as JPEG, and a list of times."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streams.access.bounded_file import read_at_most
from tracker.atomic import write_atomically
from tracker.errors import OutputError
from tracker.project.folder import Project
from tracker.project.frames import ProjectFrames

MAX_THUMBNAILS = 200
CACHE_BYTES = 64 * 2**20  # of JPEGs
_THUMBNAIL_PX = 96  # their longer side
_FRAME_QUALITY, _THUMBNAIL_QUALITY = 88, 70
_MAX_SCAN_BYTES = 64 * 2**20
_NEVER = threading.Event()


@dataclass(frozen=True)
class Scan:
    """What reading a source once tells.

    Attributes:
        frame_count: Frames that it has, places of damaged pictures included.
        fps: Frames a second; None where there is no clock.
        width, height: Of its first frame, in pixels.
        every: Frames from one thumbnail to the next.
        times: `pts` of each frame of a video, where each has one.
        is_whole: The source was read to its end; else it is what the source claims.
    """

    frame_count: int
    fps: float | None
    width: int
    height: int
    every: int = 1
    times: tuple[int, ...] = ()
    is_whole: bool = True


class Thumbnails:
    """The folder of thumbnails, and the scan that makes them."""

    def __init__(self, project: Project) -> None:
        """Use the project's folder."""
        self._project = project
        self._folder = project.folder / "thumbnails"
        self._scan_path = self._folder / "scan.json"

    def load(self) -> Scan | None:
        """The scan that was made before; None where there is none to be read."""
        try:
            return Scan(**json.loads(read_at_most(self._scan_path, _MAX_SCAN_BYTES)))
        except (OSError, ValueError, TypeError):
            return None

    def times(self) -> tuple[int, ...]:
        """`pts` of each frame by the scan that was made before; empty where none is known."""
        scan = self.load()
        return () if scan is None else tuple(scan.times)

    def claimed(self) -> Scan:
        """What the source says of itself.

        Raises:
            StreamError: It cannot be opened.
        """
        with self._project.open_source() as source:
            info = source.info
            fps = None if info.fps is None else float(info.fps)
            return Scan(info.frame_count or 1, fps, info.width, info.height, is_whole=False)

    def make(self, stop: threading.Event = _NEVER) -> Scan | None:
        """Read the source to its end and write thumbnails; None where `stop` was set.

        Where it has more than `MAX_THUMBNAILS` frames, every other, fourth, … has one.

        Raises:
            OutputError: They cannot be written.
            StreamError: The source cannot be read.
        """
        kept: dict[int, bytes] = {}
        times: list[int | None] = []
        every, count = 1, 0
        with self._project.open_source() as source:
            for frame in source:
                if stop.is_set():
                    return None
                count = frame.seq + 1
                times.append(frame.pts)
                if frame.seq % every == 0:
                    kept[frame.seq] = jpeg(frame.image, _THUMBNAIL_PX, _THUMBNAIL_QUALITY)
                while len(kept) > MAX_THUMBNAILS:
                    every *= 2
                    kept = {n: data for n, data in kept.items() if n % every == 0}
            info = source.info
        known = [] if None in times else [pts for pts in times if pts is not None]
        fps = None if info.fps is None else float(info.fps)
        count = max(count, info.frame_count or 0) if not known else count
        scan = Scan(count, fps, info.width, info.height, every, tuple(known))
        self._write(scan, kept)
        return scan

    def read(self, number: int) -> bytes | None:
        """A thumbnail as JPEG; None where there is none."""
        try:
            return (self._folder / f"{number:08d}.jpg").read_bytes()
        except OSError:
            return None

    def _write(self, scan: Scan, kept: dict[int, bytes]) -> None:
        try:
            self._folder.mkdir(exist_ok=True)
            for number, data in kept.items():
                (self._folder / f"{number:08d}.jpg").write_bytes(data)
            write_atomically(self._scan_path, json.dumps(asdict(scan)).encode())
        except OSError as error:
            raise OutputError(f"cannot write {self._folder}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class FramePicture:
    """A frame as JPEG; `width` and `height` are those of the source's frame, in pixels."""

    data: bytes
    width: int
    height: int


class FramePictures:
    """Frames as JPEG, of any thread; the newest that were asked for are kept."""

    def __init__(self, project: Project, times: Callable[[], tuple[int, ...]] = tuple) -> None:
        """Read a project's source; `times` gives those of a scan, once there is one."""
        self._frames = ProjectFrames(project, times)
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], FramePicture] = OrderedDict()
        self._kept_bytes = 0

    def jpeg(self, number: int, side_px: int) -> FramePicture:
        """A frame whose longer side has at most `side_px` pixels.

        Raises:
            StreamError: There is no such frame, or it cannot be read.
        """
        key = number, side_px
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            image_hwc = self._frames.read(number).image
            height, width = image_hwc.shape[:2]
            found = FramePicture(jpeg(image_hwc, side_px, _FRAME_QUALITY), width, height)
            self._keep(key, found)
            return found

    def close(self) -> None:
        """Close the source."""
        with self._lock:
            self._frames.close()

    def _keep(self, key: tuple[int, int], found: FramePicture) -> None:
        self._kept[key] = found
        self._kept_bytes += len(found.data)
        while self._kept_bytes > CACHE_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= len(dropped.data)


def jpeg(image_hwc: NDArray[np.uint8], side_px: int, quality: int) -> bytes:
    """A picture, RGB uint8 [H, W, 3], shrunk until its longer side fits, as JPEG."""
    height, width = image_hwc.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = image_hwc if scale == 1.0 else cv2.resize(image_hwc, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
