"""Finder of connected regions of a named colour.

A package offers it with these lines of its pyproject.toml, and then
`trackd track clip.mp4 --finder "colour:red . green" --coco masks.json` uses it, as does
`find: {finder: colour, query: red}` of a daemon's stream:

    [project.entry-points."trackd.finders"]
    colour = "colour_finder:COLOUR"
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tracker.finders.base import Finder, FinderSettings, FinderSpec, Needs, Proposal, Query
from tracker.models import Model

_HUES = {"red": 0, "yellow": 30, "green": 60, "blue": 120}  # halves of degrees, as OpenCV's


class Settings(FinderSettings):
    """`--find-set hue_range=15 --find-set min_area_px=200`."""

    hue_range: int = 12
    min_area_px: int = 100


class ColourFinder:
    """Proposes masks of strong colours; phrases are their names."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        """A region's score is its mean saturation."""
        hue, saturation, value = cv2.split(cv2.cvtColor(image_hwc, cv2.COLOR_RGB2HSV))
        proposals = []
        for phrase in phrases:
            away = np.abs((hue.astype(int) - _HUES[phrase] + 90) % 180 - 90)
            strong = (away <= self._settings.hue_range) & (saturation > 100) & (value > 60)
            _, labels_hw, stats, _ = cv2.connectedComponentsWithStats(strong.astype(np.uint8))
            for region, (x, y, width, height, area_px) in enumerate(stats.tolist()):
                if region and area_px >= self._settings.min_area_px:
                    mask_hw = labels_hw == region
                    score = float(saturation[mask_hw].mean()) / 255
                    box = (x, y, x + width, y + height)
                    proposals.append(Proposal(box, score, phrase, mask_hw))
        return proposals


def _make(model: Model | None, settings: Settings) -> Finder:
    return ColourFinder(settings)


COLOUR = FinderSpec(
    "colour", "regions of a colour", _make, Settings, Query.PHRASES, needs=Needs.NOTHING
)
