"""From a prompt command to what the engine takes."""

import numpy as np
from numpy.typing import NDArray

from tracker.daemon.messages import PromptCommand
from tracker.daemon.tracking.frame_history import HistoryFrame
from tracker.errors import PromptError
from tracker.protocol.fields import RleMask
from tracker.rle import Rle, decode_rle
from tracker.types import Prompt


def prompt_on(command: PromptCommand, object_id: int, frame: HistoryFrame) -> Prompt:
    """The prompt for an object, in pixels of the frame that it was drawn on; the session checks it.

    Raises:
        PromptError: Its mask cannot be read, or has another size than the frame.
    """
    points, box = command.points, command.box
    if command.normalized:
        points = tuple(_point_px(point, frame) for point in points)
        box = None if box is None else _box_px(box, frame)
    return Prompt(
        object_id,
        points_xy=points,
        point_labels=command.labels or (1,) * len(points),
        box_xyxy=box,
        mask_hw=None if command.mask is None else _mask(command.mask, object_id, frame),
        label=command.label,
    )


def _point_px(point_xy: tuple[float, float], frame: HistoryFrame) -> tuple[float, float]:
    """A point in pixels; 1 means the last pixel, since the edge itself is outside the frame."""
    x, y = point_xy
    return (
        frame.width - 1.0 if x == 1 else x * frame.width,
        frame.height - 1.0 if y == 1 else y * frame.height,
    )


def _box_px(
    box_xyxy: tuple[float, float, float, float], frame: HistoryFrame
) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box_xyxy
    return x0 * frame.width, y0 * frame.height, x1 * frame.width, y1 * frame.height


def _mask(mask: RleMask, object_id: int, frame: HistoryFrame) -> NDArray[np.bool_]:
    height, width = mask.size
    if (height, width) != (frame.height, frame.width):  # looked at before room is made for it
        raise PromptError(
            f"prompt for object {object_id}: mask is {width}x{height}, the frame is "
            f"{frame.width}x{frame.height}",
            "draw the mask at the size of the frame",
        )
    try:
        return decode_rle(Rle(height, width, mask.counts))
    except PromptError as err:
        raise PromptError(f"prompt for object {object_id}: {err.message}", err.hint) from err
