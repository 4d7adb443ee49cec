"""Registry of segmenters; packages add theirs in the entry point group `trackd.segmenters`."""

from functools import partial
from typing import TYPE_CHECKING

from tracker.models.catalog import CATALOG, CatalogModel, Task
from tracker.plugins import Registry
from tracker.segmenters.base import Segmenter, SegmenterSpec

if TYPE_CHECKING:
    from tracker.models import Model


def _tracker(model: "Model") -> Segmenter:
    from tracker.segmenters.tracker import TrackerSegmenter

    return TrackerSegmenter(model)


def _of_catalog(entry: CatalogModel, model: "Model") -> Segmenter:
    """A model of the catalogue, on the device of the model that tracks."""
    from tracker.models.model_files import require_folder

    folder = require_folder(entry)
    if entry.extra == "transformers":
        from tracker.segmenters.transformers_sam import TransformersSam

        return TransformersSam(folder, model.device)
    if entry.name == "mobilesam":
        from tracker.segmenters.sam_onnx import SamOnnx

        return SamOnnx(folder, model.device, entry.name)
    if entry.name == "fastsam":
        from tracker.segmenters.fast_sam import FastSam

        return FastSam(folder, model.device, entry.name)
    from tracker.segmenters.efficient_sam import EfficientSam

    return EfficientSam(folder, model.device, entry.name)


SEGMENTERS = Registry(
    "segmenter",
    SegmenterSpec,
    "trackd.segmenters",
    (
        SegmenterSpec("tracker", "the model that tracks, on the one picture", _tracker),
        *(
            SegmenterSpec(
                entry.name,
                f"by {entry.extra}, weights under {entry.weights_license}",
                partial(_of_catalog, entry),
            )
            for entry in CATALOG.values()
            if entry.task is Task.SEGMENT
        ),
    ),
)
