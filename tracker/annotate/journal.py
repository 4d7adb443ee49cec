"""Journal of results, one line of JSON per frame, from which outputs can be written again."""

import os
import re
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from tracker.errors import OutputError, PromptError, SnapshotError
from tracker.rle import Rle, decode_rle, encode_rle
from tracker.types import ObjectResult, ObjectState, StageTimes, TrackResult

_HEAD = re.compile(rb'\{"frame":(\d+),')


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Mask(_Strict):
    size: tuple[int, int]
    counts: str


class _Object(_Strict):
    id: int
    label: str | None
    state: ObjectState
    score: float
    iou: float
    box: tuple[int, int, int, int] | None
    mask: _Mask
    identity: float | None = None


class _Line(_Strict):
    frame: int
    step: int
    objects: list[_Object]


class Journal:
    """Appends results to a binary file and reads them back, exactly, one frame at a time.

    Only the times of a result are not kept.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Use `file`, open for reading and writing; reading begins at its start."""
        self._file = file
        self._read_at = 0

    def append(self, frame: int, result: TrackResult) -> int:
        """Add the results of a frame and return where their line begins, in bytes.

        Raises:
            OutputError: The line cannot be written.
        """
        objects = [_packed(item) for item in result.objects]
        line = _Line(frame=frame, step=result.step, objects=objects).model_dump_json()
        try:
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(line.encode() + b"\n")
        except OSError as error:
            raise OutputError(f"cannot keep results: {error.strerror}", "make space") from error
        return offset

    def read(self, frame: int, offset: int | None = None) -> TrackResult:
        """Give back the results of `frame`, whose line is at `offset`, or follows the last read.

        Raises:
            SnapshotError: There is no whole line of this frame.
        """
        self._file.seek(self._read_at if offset is None else offset)
        text = self._file.readline()
        self._read_at = self._file.tell()
        try:
            line = _Line.model_validate_json(text)
            if line.frame != frame:
                raise _damaged(f"frame {line.frame} stands in place of {frame}")
            objects = tuple(_unpacked(item) for item in line.objects)
        except (ValidationError, PromptError) as error:
            raise _damaged(f"frame {frame} cannot be read") from error
        return TrackResult(line.step, objects, StageTimes(0.0, 0.0))

    def keep_session(self, first_frame: int, steps: int) -> int:
        """Keep the lines up to the last of a session's steps, and return the frame after it.

        Args:
            first_frame: The session's first; lines of frames before it stay too.
            steps: How many frames the session has seen; the source may have left out some.

        Raises:
            SnapshotError: There are fewer.
        """
        self._file.seek(0)
        lines_before = 0
        while (frame := _frame_of(self._file.readline())) is not None and frame < first_frame:
            lines_before += 1
        newest = self.keep(lines_before + steps)
        if newest is None:
            raise _damaged("its last line cannot be read")
        return newest + 1

    def keep(self, lines: int) -> int | None:
        """Keep the first lines, whole ones, and drop what follows.

        Returns:
            The frame of the last line that is kept; None where there is none.

        Raises:
            SnapshotError: There are fewer.
        """
        self._file.seek(0)
        text = b""
        for number in range(lines):
            text = self._file.readline()
            if not text.endswith(b"\n"):
                raise _damaged(f"it ends after {number} of {lines} frames")
        self._file.truncate(self._file.tell())
        self._read_at = 0
        return _frame_of(text)

    def sync(self) -> None:
        """Have what was appended survive a crash.

        Raises:
            OutputError: It cannot be written.
        """
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(f"cannot keep results: {error.strerror}", "make space") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _frame_of(line: bytes) -> int | None:
    found = _HEAD.match(line)
    return int(found[1]) if found else None


def _damaged(what: str) -> SnapshotError:
    return SnapshotError(f"the results kept of this run are damaged: {what}", "begin it again")


def _packed(item: ObjectResult) -> _Object:
    rle = encode_rle(item.mask_hw)
    return _Object(
        id=item.id,
        label=item.label,
        state=item.state,
        score=item.score,
        iou=item.iou,
        box=item.box_xyxy,
        mask=_Mask(size=(rle.height, rle.width), counts=rle.counts),
        identity=item.identity,
    )


def _unpacked(item: _Object) -> ObjectResult:
    mask_hw: np.ndarray = decode_rle(Rle(*item.mask.size, item.mask.counts))
    return ObjectResult(
        item.id,
        item.label,
        item.state,
        item.score,
        item.iou,
        item.box,
        mask_hw,
        identity=item.identity,
    )
