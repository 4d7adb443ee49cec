"""Reads a folder in the layout of DAVIS: JPEGImages/SEQ/*.jpg and Annotations/SEQ/*.png."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from streams.sources.images import find_images
from tracker.errors import TrackdError, UsageError

MIN_FRAMES = 3  # the first and the last frame are not scored
VOID = 255


@dataclass(frozen=True, slots=True)
class Labels:
    """Meaning of the values of annotations.

    Attributes:
        per_object: Each value but 0 is an object of its own, as in DAVIS 2017; else all of them
            are one, as in DAVIS 2016.
        void: 255 marks pixels that are not scored; else it is a value like any other.
    """

    per_object: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """True masks of one frame.

    Attributes:
        masks_hw: By object id, bool [H, W]; only of objects that the frame shows.
        scored_hw: Pixels that are scored, bool [H, W].
    """

    masks_hw: Mapping[int, NDArray[np.bool_]]
    scored_hw: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sequence:
    """One video and its annotations, one PNG per frame, in order."""

    name: str
    frames_dir: Path
    annotations: tuple[Path, ...]

    def mask(self, index: int) -> NDArray[np.bool_]:
        """Mask of frame `index`, bool [H, W]: every value but 0 is the object.

        Raises:
            TrackdError: The file is no image.
        """
        mask_hw: NDArray[np.bool_] = self._values(index) != 0
        return mask_hw

    def annotation(self, index: int, labels: Labels) -> Annotation:
        """True masks of frame `index`; the id of a single object is 1.

        Raises:
            TrackdError: The file is no image.
        """
        values_hw = self._values(index)
        scored_hw = values_hw != VOID if labels.void else np.ones(values_hw.shape, np.bool_)
        ids_hw = np.where(scored_hw, values_hw, 0)
        if not labels.per_object:
            ids_hw = np.minimum(ids_hw, 1)
        ids = [int(value) for value in np.unique(ids_hw) if value]
        return Annotation({object_id: ids_hw == object_id for object_id in ids}, scored_hw)

    def _values(self, index: int) -> NDArray[np.integer[Any]]:
        path = self.annotations[index]
        try:
            with Image.open(path) as image:
                values = np.asarray(image)
        except (OSError, UnidentifiedImageError) as err:
            raise TrackdError(f"cannot read annotation {path}: {err}", "replace the file") from err
        if values.ndim != 2:
            raise TrackdError(
                f"annotation {path} has {values.ndim} dimensions",
                "use a greyscale or palette PNG",
            )
        return values


def find_sequences(root: Path, names: tuple[str, ...] = ()) -> tuple[Sequence, ...]:
    """Find the sequences below `root`, by name; all of them unless `names` are given.

    The folders may hold a resolution level, as the DAVIS release does (JPEGImages/480p/SEQ).

    Raises:
        TrackdError: A folder is missing or empty, or frames and annotations do not match.
        UsageError: A name in `names` is not among the sequences.
        StreamError: A sequence's folder holds no pictures.
    """
    frames_root = _level(root / "JPEGImages")
    annotations_root = _level(root / "Annotations")
    found = {path.name: path for path in sorted(frames_root.iterdir()) if path.is_dir()}
    if not found:
        raise TrackdError(f"no sequences in {frames_root}", "expected one folder per sequence")
    for name in names:
        if name not in found:
            raise UsageError(f"no sequence {name!r} in {frames_root}", f"has {', '.join(found)}")
    return tuple(
        _sequence(found[name], annotations_root / name) for name in (names or tuple(found))
    )


def _level(folder: Path) -> Path:
    """`folder`, or its 480p level where it has one."""
    if not folder.is_dir():
        raise TrackdError(
            f"no folder {folder}", "expected JPEGImages/SEQ/*.jpg and Annotations/SEQ/*.png"
        )
    level = folder / "480p"
    return level if level.is_dir() else folder


def _sequence(frames_dir: Path, annotations_dir: Path) -> Sequence:
    frames = find_images(frames_dir) or ()
    annotations = {path.stem: path for path in annotations_dir.glob("*.png")}
    if not annotations:
        raise TrackdError(
            f"sequence {frames_dir.name} has no annotations in {annotations_dir}",
            "add them, or name the other sequences with --seqs",
        )
    if len(frames) != len(annotations) or {path.stem for path in frames} != set(annotations):
        raise TrackdError(
            f"sequence {frames_dir.name} has {len(frames)} frames and {len(annotations)} "
            "annotations, or their names differ",
            "every frame needs the annotation of the same name",
        )
    if len(frames) < MIN_FRAMES:
        raise TrackdError(
            f"sequence {frames_dir.name} has {len(frames)} frames",
            f"a score needs at least {MIN_FRAMES}: the first and the last are left out",
        )
    in_order = tuple(annotations[path.stem] for path in frames)
    return Sequence(frames_dir.name, frames_dir, in_order)
