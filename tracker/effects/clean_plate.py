"""Filling of what no frame of a video saw, frame by frame or carried on from a clean plate."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.effects.alignment import (
    Homography,
    View,
    around,
    homography,
    light_shift,
    warped,
)

_TELEA_PX = 5
_RING_PX = 12  # around the hole, where light is matched
# Share of what is to fill that a plate does not show, beyond which there is another.
_RENEWED = 0.25
_LEAST = 0.02  # share of the objects that is worth asking a model for

Image = NDArray[np.uint8]


def telea(_view: View, image_hwc: Image, hole_hw: NDArray[np.uint8]) -> Image:
    """The picture filled by OpenCV's inpainting (Telea 2004), each frame by itself."""
    part = around(hole_hw, _RING_PX)
    filled_hwc = image_hwc.copy()
    patch = np.ascontiguousarray(image_hwc[part])
    filled_hwc[part] = cv2.inpaint(patch, hole_hw[part], _TELEA_PX, cv2.INPAINT_TELEA)
    return filled_hwc


def clean_plate(model: str) -> "CleanPlate":
    """A clean plate that is filled by an inpainting model.

    Raises:
        TrackdError: The model cannot be loaded.
    """
    from tracker.effects.inpaint import DiffusionInpainter

    return CleanPlate(model, DiffusionInpainter(model).fill)


class CleanPlate:
    """Picture of what is behind the objects, filled by a model and carried on by alignment.

    A model that fills each frame by itself flickers. So it fills the first, and later frames are
    filled from that one. Where they need too much that it does not show, the model fills what is
    missing, and that is the next plate; a little that is missing is left to OpenCV.

    Args:
        model: Name of the model.
        inpaint: Fills a picture [H, W, 3] where a mask [H, W] is 1; None where it will not.
    """

    def __init__(
        self, model: str, inpaint: Callable[[Image, NDArray[np.uint8]], Image | None]
    ) -> None:
        self._model = model
        self._inpaint = inpaint
        self._filled = self._refused = 0
        self._plate: View | None = None
        self._before: tuple[View, Homography] | None = None  # the view before, to the plate

    @property
    def notes(self) -> tuple[str, ...]:
        """How often the model filled a picture, and would not."""
        told = f"remove: clean plates by {self._model}: {self._filled}"
        return (f"{told}, by OpenCV, since it refused: {self._refused}" if self._refused else told,)

    def __call__(self, view: View, image_hwc: Image, hole_hw: NDArray[np.uint8]) -> Image:
        """The picture filled."""
        carried_hwc, missing_hw = self._carried(view, image_hwc, hole_hw)
        if not missing_hw.any():
            return carried_hwc
        little = max(_RENEWED * hole_hw.sum(), _LEAST * view.hole_hw.sum())
        if missing_hw.sum() <= little:
            return telea(view, carried_hwc, missing_hw)
        filled_hwc = self._inpaint(carried_hwc, missing_hw)
        self._filled += filled_hwc is not None
        self._refused += filled_hwc is None
        if filled_hwc is None:
            filled_hwc = telea(view, carried_hwc, missing_hw)
        shot = replace(view.shot.without_objects, image_hwc=filled_hwc)
        self._plate = replace(view, shot=shot, hole_hw=np.zeros_like(hole_hw))
        self._before = (self._plate, np.eye(3))
        return filled_hwc

    def _carried(
        self, view: View, image_hwc: Image, hole_hw: NDArray[np.uint8]
    ) -> tuple[Image, NDArray[np.uint8]]:
        """The picture filled from the plate, and a mask of what the plate does not show."""
        to_plate = self._to_plate(view)
        if to_plate is None:
            return image_hwc, hole_hw
        assert self._plate is not None
        part = around(hole_hw, _RING_PX)
        here_hw = hole_hw[part] > 0
        colours_hwc, known_hw = warped(self._plate, to_plate, part)
        shift_c = light_shift(colours_hwc, image_hwc[part], known_hw & ~here_hw)
        carried_hwc, missing_hw = image_hwc.copy(), hole_hw.copy()
        shown_hw = here_hw & known_hw
        lit_nc = np.rint(colours_hwc[shown_hw] + shift_c).clip(0, 255)
        carried_hwc[part][shown_hw] = lit_nc
        missing_hw[part][shown_hw] = 0
        return carried_hwc, missing_hw

    def _to_plate(self, view: View) -> Homography | None:
        """How the view maps to the plate, by way of the view before; None where it does not."""
        if self._before is None or self._before[0].hole_hw.shape != view.hole_hw.shape:
            return None
        assert self._plate is not None
        before, before_to_plate = self._before
        step = homography(view, before, None)
        if step is None:
            return None
        to_plate = homography(view, self._plate, before_to_plate @ step)
        if to_plate is not None:
            self._before = (replace(view, shot=view.shot.without_objects), to_plate)
        return to_plate
