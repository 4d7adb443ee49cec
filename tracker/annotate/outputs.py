"""Where the outputs go, checked before anything is written."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from streams.video_writer import MAX_SIDE_PX, scaled_size
from tracker.errors import OutputError, UsageError
from tracker.exporters.base import Writer
from tracker.exporters.coco import CocoFramesWriter
from tracker.exporters.davis import MAX_ID, DavisWriter
from tracker.exporters.youtube_vis import CocoWriter


@dataclass(frozen=True, slots=True)
class Outputs:
    """The files of one run; None where that format is not wanted.

    Attributes:
        video: MP4 with the masks drawn.
        davis: Folder of palette PNGs.
        coco: YouTube-VIS style JSON.
        coco_frames: COCO instances JSON, a frame an image.
        state: Folder from which the run goes on after an interruption.
        video_width: Width that the video is scaled to, in pixels; None for the source's.
    """

    video: Path | None = None
    davis: Path | None = None
    coco: Path | None = None
    coco_frames: Path | None = None
    state: Path | None = None
    video_width: int | None = None

    def check(
        self, inputs: Sequence[Path], object_ids: Iterable[int], *, begun: bool = False
    ) -> None:
        """Check that all outputs can be written and harm nothing.

        Args:
            inputs: Files and folders that the run reads.
            object_ids: Ids that will be written.
            begun: An interrupted run goes on, whose masks may be written over.

        Raises:
            UsageError: An output is an input or another output, has the wrong suffix, or cannot
                hold the ids.
            OutputError: An output cannot be written there.
        """
        wanted = list(self.wanted())
        for index, (option, path) in enumerate(wanted):
            part = path.with_name(path.name + ".part")
            for source in inputs:
                if _same(path, source) or _same(part, source):
                    raise UsageError(
                        f"{option} {path} would overwrite the input {source}", "write elsewhere"
                    )
            for other_option, other in wanted[:index]:
                if _same(path, other):
                    raise UsageError(
                        f"{other_option} and {option} are both {path}", "give each its own path"
                    )
        _check_file("--out", self.video, ".mp4")
        self._check_width()
        _check_file("--coco", self.coco, ".json")
        _check_file("--coco-frames", self.coco_frames, ".json")
        _check_folder("--davis", self.davis, r"(?s:.+\.png)|frame\.part" if begun else "")
        _check_folder("--resume", self.state, "(?s:.*)" if begun else "")
        largest = max(object_ids, default=0)
        if self.davis is not None and largest > MAX_ID:
            raise UsageError(
                f"--davis holds ids up to {MAX_ID}, not {largest}", "number the objects from 1"
            )

    def _check_width(self) -> None:
        width = self.video_width
        if width is None:
            return
        if self.video is None:
            raise UsageError("--out-width scales the video of --out", "give --out as well")
        if width % 2 or not 2 <= width <= MAX_SIDE_PX:
            raise UsageError(
                f"--out-width {width}: not a width of H.264",
                f"give an even number from 2 to {MAX_SIDE_PX}",
            )

    def check_size(self, height: int, width: int) -> None:
        """Check that frames of this size, in pixels, can be written.

        Raises:
            UsageError: They are too large for the video.
        """
        if self.video is None:
            return
        size = (width, height)
        if self.video_width is not None:
            size = scaled_size(width, height, self.video_width)
        if max(size) > MAX_SIDE_PX:
            fitting = max(2, min(MAX_SIDE_PX, width * MAX_SIDE_PX // height) // 2 * 2)
            raise UsageError(
                f"--out {self.video}: {size[0]}x{size[1]} pixels, H.264 holds {MAX_SIDE_PX} a side",
                f"--out-width {fitting} scales it",
            )

    def open(self, source_name: str, fps: Fraction | None) -> tuple[Writer, ...]:
        """Make the writers; nothing is on disk before their first frame.

        Args:
            source_name: What the frames are called in the JSON.
            fps: The source's frame rate, None where it has none.
        """
        writers: list[Writer] = []
        if self.video is not None:
            # The drawing packages take seconds to import: only for those who draw.
            from tracker.exporters.overlay_video import OverlayWriter

            writers.append(OverlayWriter(self.video, fps, self.video_width))
        if self.davis is not None:
            writers.append(DavisWriter(self.davis))
        if self.coco is not None:
            writers.append(CocoWriter(self.coco, source_name))
        if self.coco_frames is not None:
            writers.append(CocoFramesWriter(self.coco_frames, source_name))
        return tuple(writers)

    def wanted(self) -> Iterator[tuple[str, Path]]:
        """The option and the path of each output."""
        named = (
            ("--out", self.video),
            ("--davis", self.davis),
            ("--coco", self.coco),
            ("--coco-frames", self.coco_frames),
            ("--resume", self.state),
        )
        return ((option, path) for option, path in named if path is not None)


def _same(first: Path, second: Path) -> bool:
    if first.exists() and second.exists():
        return first.samefile(second)
    return first.resolve() == second.resolve()


def _check_file(option: str, path: Path | None, suffix: str) -> None:
    if path is None:
        return
    if path.suffix.lower() != suffix:
        raise UsageError(f"{option} {path} does not end in {suffix}", f"name it NAME{suffix}")
    if path.exists() and not path.is_file():
        raise OutputError(f"{option} {path} is not a file", "give a file name")
    _check_parent(option, path)


def _check_folder(option: str, path: Path | None, may_hold: str) -> None:
    """Check a folder to write; `may_hold` is a pattern of the names that may be there already."""
    if path is None:
        return
    if not path.exists():
        _check_parent(option, path)
        return
    if not path.is_dir():
        raise OutputError(f"{option} {path} is not a folder", "give a folder")
    _probe(option, path, path)
    if not all(re.fullmatch(may_hold, item.name) for item in path.iterdir()):
        raise OutputError(
            f"{option} {path} holds files already", "give a new folder, or empty this one"
        )


def _check_parent(option: str, path: Path) -> None:
    if not path.parent.is_dir():
        raise OutputError(
            f"{option} {path}: no folder {path.parent}", f"make it first: mkdir -p {path.parent}"
        )
    _probe(option, path, path.parent)


def _probe(option: str, path: Path, folder: Path) -> None:
    """Try to write: permission bits say too little about mounts, quotas and the superuser."""
    try:
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, "Permission denied")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"{option} {path}: cannot write to {folder} ({error.strerror})", "choose another folder"
        ) from error
