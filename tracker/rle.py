"""COCO run-length encoding (RLE) of masks, as files and messages carry it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from tracker.errors import PromptError

MAX_SIDE_PX = 16384
_MAX_CHUNKS_PER_RUN = 7


@dataclass(frozen=True, slots=True)
class Rle:
    """One mask in COCO's compressed run-length encoding.

    Attributes:
        height: Rows of the mask.
        width: Columns of the mask.
        counts: Run lengths down the columns, background first, in COCO's text form.
    """

    height: int
    width: int
    counts: str


def encode_rle(mask_hw: NDArray[np.bool_]) -> Rle:
    """Compress a bool mask [H, W]."""
    # Not by pycocotools' own encoder, which ends the process where it gets no memory.
    rows, columns = (np.flatnonzero(mask_hw.any(axis)) for axis in (1, 0))
    if not len(rows):
        return encode_rle_in_box(mask_hw, (0, 0, 0, 0))
    box_xyxy = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return encode_rle_in_box(mask_hw, box_xyxy)


def encode_rle_in_box(mask_hw: NDArray[np.bool_], box_xyxy: tuple[int, int, int, int]) -> Rle:
    """Compress a bool mask [H, W] that is empty outside of a box, reading only the box.

    The text equals that of `encode_rle`; the work is that of the box, not of the frame.
    """
    height, width = mask_hw.shape
    x0, y0, x1, y1 = box_xyxy
    # Columns of the box one after the other, each between two background pixels: no run leaves
    # its column.
    column_px = y1 - y0 + 2
    columns_wh = np.zeros((x1 - x0, column_px), np.bool_)
    columns_wh[:, 1:-1] = mask_hw[y0:y1, x0:x1].T
    flat = columns_wh.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1])
    edges += edges // column_px * (height - column_px) + x0 * height + y0
    if y1 - y0 == height:  # a run may go on at the top of the next column
        joints = np.flatnonzero(edges[1:-1:2] == edges[2::2]) * 2 + 1
        edges = np.delete(edges, np.concatenate([joints, joints + 1]))
    runs = np.diff(edges, prepend=0, append=height * width)
    if runs[-1] == 0:
        runs = runs[:-1]
    counted = {"size": [height, width], "counts": runs.tolist()}
    text = coco_mask.frPyObjects(counted, height, width)["counts"]
    return Rle(height, width, text.decode("ascii"))


def decode_rle(rle: Rle) -> NDArray[np.bool_]:
    """Expand to a bool mask [H, W].

    Raises:
        PromptError: The counts are not COCO run lengths, or do not fill the stated size.
    """
    runs = _read_runs(rle.counts)
    if not (0 < rle.height <= MAX_SIDE_PX and 0 < rle.width <= MAX_SIDE_PX):
        raise PromptError(f"RLE mask of {rle.width}x{rle.height} pixels", "check its size")
    if runs.sum() != rle.height * rle.width:
        raise PromptError(
            f"RLE mask counts {runs.sum()} pixels, its size {rle.width}x{rle.height} needs "
            f"{rle.height * rle.width}",
            "give size as [height, width] with the counts that belong to it",
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.ascontiguousarray(flat.reshape(rle.width, rle.height).T)


def _read_runs(counts: str) -> NDArray[np.int64]:
    """Run lengths of COCO's text form: base 32, low digits first, coded as differences."""
    chunks = np.frombuffer(counts.encode("utf-32-le"), np.uint32).astype(np.int64) - 48
    ends = np.flatnonzero(chunks & 0x20 == 0)  # where a run's last chunk is
    starts = np.concatenate([[0], ends[:-1] + 1])
    wrong = (chunks < 0) | (chunks >= 64)
    if wrong.any():
        raise PromptError(
            f"RLE counts hold {counts[int(wrong.argmax())]!r}", "give COCO compressed counts"
        )
    if not len(ends) or ends[-1] != len(chunks) - 1:
        raise PromptError("RLE counts end in the middle of a run", "give COCO compressed counts")
    lengths = ends - starts + 1
    if lengths.max() > _MAX_CHUNKS_PER_RUN:
        raise PromptError("RLE counts hold a run that is too long", "give COCO compressed counts")
    places = np.arange(len(chunks)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((chunks & 0x1F) << (5 * places), starts)
    runs -= np.where(chunks[ends] & 0x10, np.int64(1) << (5 * lengths), 0)
    # From the fourth on, each is stored as what it has more than the last but one.
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise PromptError("RLE counts hold a negative run", "give COCO compressed counts")
    return runs
