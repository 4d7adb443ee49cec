"""Objects from PNGs in the layout of DAVIS: palette or grey, pixel = id."""

from collections.abc import Iterator
from pathlib import Path

from tracker.annotate.mask_png import read_object_masks
from tracker.importers.base import Annotated, files_in, number_in
from tracker.rle import encode_rle


def read_davis(path: Path) -> Iterator[Annotated]:
    """Objects of a PNG, or of all PNGs of a folder; frames without one are left out.

    Raises:
        UsageError: There are no PNGs.
        PromptError: One is no picture of ids.
    """
    for file in [path] if path.is_file() else files_in(path, "*.png"):
        for object_id, mask_hw in read_object_masks(file, may_be_empty=True):
            mask = encode_rle(mask_hw)
            yield Annotated(number_in(file.stem), file.stem, object_id, None, mask=mask)
