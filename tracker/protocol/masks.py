"""Decoders of the masks of a `masks` message, for every encoding."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.errors import TrackdError
from tracker.protocol.data import BitsMask, MasksMessage, ObjectMessage, PolygonMask
from tracker.protocol.fields import RleMask
from tracker.rle import Rle, decode_rle

Box = tuple[int, int, int, int]


def masks_of(message: MasksMessage, parts: Sequence[bytes]) -> dict[int, NDArray[np.bool_]]:
    """Masks [H, W] of the objects that are shown, by object id, at the size of the frame.

    Args:
        message: What part 1 says.
        parts: All parts of the message, topic and JSON included.

    Raises:
        TrackdError: A mask cannot be decoded, or does not fit the frame.
    """
    height, width = message.frame.height, message.frame.width
    shown = [item for item in message.objects if item.box is not None]
    if message.labelmap_part is not None:
        values_hw = _decode_labelmap(_part(parts, message.labelmap_part), height, width)
        return {item.id: np.asarray(values_hw == item.value) for item in shown}
    return {
        item.id: decode_mask(item, item.box, parts, height, width)
        for item in shown
        if item.box is not None
    }


def decode_mask(
    item: ObjectMessage, box: Box, parts: Sequence[bytes], height: int, width: int
) -> NDArray[np.bool_]:
    """Mask [H, W] of one object that the message shows with a mask of its own.

    A polygon gives the outer contours, filled: a hole in the mask is lost.

    Raises:
        TrackdError: The mask cannot be decoded, or does not fit the frame.
    """
    match item.mask:
        case RleMask() as mask if mask.size == (height, width):
            return decode_rle(Rle(height, width, mask.counts))
        case BitsMask() as mask:
            return _decode_bits(_part(parts, mask.part), mask.size, box, height, width)
        case PolygonMask() as mask:
            return _fill_polygons(mask.polygons, height, width)
    raise TrackdError(f"object {item.id} has no mask of {width}x{height} pixels")


def _part(parts: Sequence[bytes], index: int) -> bytes:
    if not 2 <= index < len(parts):
        raise TrackdError(
            f"the message has {len(parts)} parts, its JSON names part {index}",
            "receive all parts of a message (recv_multipart)",
        )
    return parts[index]


def _decode_bits(
    packed: bytes, size: tuple[int, int], box: Box, height: int, width: int
) -> NDArray[np.bool_]:
    rows, columns = size
    x0, y0, x1, y1 = box
    if (y1 - y0, x1 - x0) != size or not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise TrackdError(f"mask bits of {columns}x{rows} pixels do not fit their box {box}")
    if len(packed) != (rows * columns + 7) // 8:
        raise TrackdError(f"{len(packed)} bytes for mask bits of {columns}x{rows} pixels")
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=rows * columns)
    mask_hw = np.zeros((height, width), np.bool_)
    mask_hw[y0:y1, x0:x1] = bits.reshape(rows, columns)
    return mask_hw


def _decode_labelmap(png: bytes, height: int, width: int) -> NDArray[np.integer]:
    values_hw = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED) if png else None
    if values_hw is None or values_hw.shape != (height, width):
        raise TrackdError(f"the label map is no grey PNG of {width}x{height} pixels")
    return np.asarray(values_hw)


def _fill_polygons(polygons: list[list[int]], height: int, width: int) -> NDArray[np.bool_]:
    filled_hw = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        if not polygon or len(polygon) % 2:
            raise TrackdError(f"a polygon of {len(polygon)} numbers is not made of points")
        # One at a time: together, a contour inside of another would count as its hole.
        cv2.fillPoly(filled_hw, [np.array(polygon, np.int32).reshape(-1, 1, 2)], 1)
    return filled_hw.astype(np.bool_)
