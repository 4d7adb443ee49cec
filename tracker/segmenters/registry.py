"""Registry of segmenters; packages add theirs in the entry point group `trackd.segmenters`."""

from typing import TYPE_CHECKING

from tracker.plugins import Registry
from tracker.segmenters.base import Segmenter, SegmenterSpec

if TYPE_CHECKING:
    from tracker.models import Model


def _tracker(model: "Model") -> Segmenter:
    from tracker.segmenters.tracker import TrackerSegmenter

    return TrackerSegmenter(model)


SEGMENTERS = Registry(
    "segmenter",
    SegmenterSpec,
    "trackd.segmenters",
    (SegmenterSpec("tracker", "the model that tracks, on the one picture", _tracker),),
)
