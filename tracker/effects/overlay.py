"""Overlay of masks, contours and names, by supervision's annotators."""

from collections.abc import Sequence

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from tracker.colours import OBJECT_COLOURS
from tracker.types import ObjectResult

_MASK_OPACITY = 0.45
_MIN_TEXT_SCALE = 0.4
_MAX_NAME_CHARS = 32
_WHITE, _BLACK = sv.Color(255, 255, 255), sv.Color(0, 0, 0)


def _swapped_palette() -> sv.ColorPalette:
    """The annotators draw BGR; our frames are RGB, so the colours are swapped, not the frames."""
    return sv.ColorPalette([sv.Color(r=b, g=g, b=r) for r, g, b in OBJECT_COLOURS])


def _readable_on(palette: sv.ColorPalette) -> sv.ColorPalette:
    """Black or white per colour, whichever stands out more."""
    luma = [0.114 * c.r + 0.587 * c.g + 0.299 * c.b for c in palette.colors]
    return sv.ColorPalette([_BLACK if value > 140 else _WHITE for value in luma])


def _name(item: ObjectResult) -> str:
    return f"{item.id} {item.label[:_MAX_NAME_CHARS]}" if item.label else f"{item.id}"


class Overlay:
    """Draws results on frames; an object keeps its colour by its id."""

    def __init__(self, height: int, width: int) -> None:
        """Choose line and text sizes that are legible at `height` x `width` pixels."""
        palette = _swapped_palette()
        resolution_wh = (width, height)
        thickness = sv.calculate_optimal_line_thickness(resolution_wh)
        self._masks = sv.MaskAnnotator(palette, _MASK_OPACITY)
        self._contours = sv.PolygonAnnotator(palette, thickness)
        text_scale = max(_MIN_TEXT_SCALE, sv.calculate_optimal_text_scale(resolution_wh))
        text_thickness = max(1, round(2 * text_scale))
        text_padding = max(3, round(8 * text_scale))
        self._names = sv.LabelAnnotator(
            palette,
            text_color=_readable_on(palette),
            text_scale=text_scale,
            text_thickness=text_thickness,
            text_padding=text_padding,
            smart_position=True,
        )
        self._legend = sv.LabelAnnotator(
            _BLACK,
            sv.ColorLookup.INDEX,
            text_scale=text_scale,
            text_thickness=text_thickness,
            text_padding=text_padding,
            text_position=sv.Position.BOTTOM_LEFT,
            smart_position=True,
        )

    def draw(
        self, image_hwc: NDArray[np.uint8], objects: Sequence[ObjectResult]
    ) -> NDArray[np.uint8]:
        """A copy of the RGB frame [H, W, 3] with every visible object drawn on it.

        Objects that are not to be seen are named at the bottom left.
        """
        scene = image_hwc.copy()
        shown = [item for item in objects if item.box_xyxy is not None]
        if shown:
            detections = sv.Detections(
                xyxy=np.array([item.box_xyxy for item in shown], np.float32),
                mask=np.stack([item.mask_hw for item in shown]),
            )
            colour_by_id = np.array([item.id - 1 for item in shown])
            names = [f"{_name(item)} {item.score:.2f}" for item in shown]
            self._masks.annotate(scene, detections, colour_by_id)
            self._contours.annotate(scene, detections, colour_by_id)
            self._names.annotate(scene, detections, names, colour_by_id)
        absent = [_name(item) for item in objects if item.box_xyxy is None]
        if absent:
            height, width = scene.shape[:2]
            frame_box = sv.Detections(xyxy=np.array([[0, 0, width, height]], np.float32))
            self._legend.annotate(scene, frame_box, [f"not visible: {', '.join(absent)}"])
        return scene
