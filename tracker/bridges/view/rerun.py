"""Rerun: pictures, masks as a segmentation image, and boxes, in its viewer or in a file."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import rerun
from numpy.typing import NDArray

from tracker.bridges.scenes import Scene
from tracker.bridges.view.base import title
from tracker.colours import OBJECT_COLOURS
from tracker.errors import OutputError, TrackdError

VIEWER_MEMORY = "1GB"
"""What the viewer keeps; the oldest goes first."""
_HOST = "127.0.0.1"
_START_S = 30.0
_FLUSH_S = 10.0


class RerunView:
    """Recording of a stream, with the timelines `captured` and `frame`.

    Args:
        stream: Name of the stream, and of its entities.
        path: File (.rrd) to write; None opens the viewer.

    Raises:
        OutputError: The file cannot be written.
        TrackdError: The viewer does not start.
    """

    def __init__(self, stream: str, path: Path | None) -> None:
        self._picture = f"{stream}/picture"
        self._labels: dict[int, str | None] = {}
        self._recording = rerun.RecordingStream("trackd")
        if path is not None:
            self._save(path)
        else:
            self._connect()

    def _save(self, path: Path) -> None:
        try:
            with path.open("ab") as file:
                if file.tell():
                    raise OutputError(f"{path} holds something already", "give another name")
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {error.strerror}", "give another place"
            ) from error
        self._recording.save(path)

    def _connect(self) -> None:
        """Start the viewer, which would listen to the whole network by itself, and wait for it."""
        port = _free_port()
        command = [sys.executable, "-m", "rerun", "--bind", _HOST, "--port", str(port)]
        viewer = subprocess.Popen(
            [*command, "--memory-limit", VIEWER_MEMORY, "--expect-data-soon"],
            stdin=subprocess.DEVNULL,
        )
        until_s = time.monotonic() + _START_S
        while not _listens(port):
            if viewer.poll() is not None or time.monotonic() > until_s:
                viewer.kill()
                raise TrackdError(
                    "the viewer of rerun does not start", "see what it printed; is there a display?"
                )
            time.sleep(0.1)
        self._recording.connect_grpc(f"rerun+http://{_HOST}:{port}/proxy")
        self._flush()  # a viewer without a display listens for a moment

    def show(self, scene: Scene) -> None:
        """Log a picture, its masks and boxes.

        Raises:
            TrackdError: The masks are damaged.
        """
        recording, shown = self._recording, scene.shown
        ids_hw = _ids(scene)
        boxes = [scene.box(item) for item in shown]
        frame = scene.picture.message.frame
        recording.set_time("captured", timestamp=np.datetime64(frame.captured_ns, "ns"))
        recording.set_time("frame", sequence=frame.seq)
        self._log_labels(scene)
        jpeg = rerun.EncodedImage(contents=scene.picture.jpeg, media_type="image/jpeg")
        recording.log(self._picture, jpeg)
        recording.log(f"{self._picture}/masks", rerun.SegmentationImage(ids_hw))
        recording.log(
            f"{self._picture}/boxes",
            rerun.Boxes2D(
                array=np.array(boxes, np.float32).reshape(-1, 4),
                array_format=rerun.Box2DFormat.XYXY,
                labels=[title(item) for item in shown],
                class_ids=[_class(item.id) for item in shown],
            ),
        )

    def close(self) -> None:
        """Write what is not yet written.

        Raises:
            TrackdError: The viewer is gone.
        """
        try:
            self._flush()
        finally:
            self._recording.disconnect()

    def _flush(self) -> None:
        try:
            self._recording.flush(timeout_sec=_FLUSH_S)
        except RuntimeError as error:
            raise TrackdError(f"the viewer of rerun is gone: {error}") from error

    def _log_labels(self, scene: Scene) -> None:
        """Names and colours of the objects, where they changed."""
        labels = {item.id: item.label for item in scene.result.objects}
        if labels == self._labels:
            return
        self._labels = labels
        described = [
            rerun.AnnotationInfo(
                id=_class(object_id),
                label=label or str(object_id),
                color=OBJECT_COLOURS[(object_id - 1) % len(OBJECT_COLOURS)],
            )
            for object_id, label in labels.items()
        ]
        self._recording.log(self._picture, rerun.AnnotationContext(described))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((_HOST, port)) == 0


def _class(object_id: int) -> int:
    """Class of an object: 16 bits, and 0 is the background."""
    return (object_id - 1) % 0xFFFF + 1


def _ids(scene: Scene) -> NDArray[np.uint16]:
    """Class of each pixel of the picture, uint16 [H, W]; of two objects the surer is on top."""
    width, height = scene.size_wh
    ids_hw = np.zeros((height, width), np.uint16)
    for item in sorted(scene.shown, key=lambda item: (item.score, -item.id)):
        ids_hw[scene.mask(item.id)] = _class(item.id)
    return ids_hw
