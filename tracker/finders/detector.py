"""Finder of classes: object detectors of `transformers`, or what returns supervision's detections.

A detector is a folder of `transformers` (DETR, RT-DETR, RF-DETR, YOLOS, …), or a function
`package.module.function` that takes an RGB picture, uint8 [H, W, 3], and returns
`supervision.Detections` with the names of classes in `data["class_name"]`.
"""

import pkgutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
import torch
from numpy.typing import NDArray
from PIL import Image
from supervision.config import CLASS_NAME_DATA_FIELD

from tracker.errors import FinderError, ModelError, UsageError
from tracker.finders.base import Finder, Proposal
from tracker.finders.settings import DetectorSettings
from tracker.models.catalog import CATALOG, Task
from tracker.models.pretrained import load_pretrained, pretrained_folder

_CLASSES_NAMED = 20

Detect = Callable[[NDArray[np.uint8]], sv.Detections]


def make_detector(device: torch.device, settings: DetectorSettings) -> Finder:
    """The finder of a detector's name.

    Raises:
        UsageError: It cannot be imported, or `transformers` is not installed.
        UnknownModelError: There is no such model.
        ModelError: It is not here, damaged, or no detector.
    """
    name = settings.model
    if name in CATALOG or Path(name).is_dir() or "." not in name:
        return ClassFinder(device, settings)
    try:
        detect = pkgutil.resolve_name(name)
    except Exception as error:
        raise UsageError(
            f"detector {name} cannot be imported: {type(error).__name__}: {error}",
            "give package.module.function, or a name of trackd models",
        ) from error
    if not callable(detect):
        raise UsageError(f"detector {name} is no function", "give package.module.function")
    return DetectionsFinder(detect, name, settings.threshold)


class ClassFinder:
    """Proposes boxes of classes by an object detector of `transformers`."""

    def __init__(self, device: torch.device, settings: DetectorSettings) -> None:
        """Load the detector.

        Raises:
            TrackdError: As `make_detector`.
        """
        folder, extra = pretrained_folder(settings.model, Task.DETECT)
        loaded = load_pretrained("AutoModelForObjectDetection", folder, device, extra=extra)
        self._network, self._processor = loaded
        if not hasattr(self._processor, "post_process_object_detection"):
            raise ModelError(f"the processor in {folder} is of no detector", "use another model")
        self._names: dict[int, str] = self._network.config.id2label
        self._settings, self._device = settings, device

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all classes."""
        return tuple(self._names.values())

    def check_phrases(self, phrases: Sequence[str]) -> None:
        """Check that the detector knows these classes.

        Raises:
            UsageError: It does not know one.
        """
        known = {name.lower() for name in self._names.values()}
        for phrase in phrases:
            if phrase.lower() not in known:
                some = sorted(known)[:_CLASSES_NAMED]
                more = f" and {len(known) - len(some)} more" if len(known) > len(some) else ""
                raise UsageError(
                    f"{self._settings.model} knows no class {phrase!r}",
                    f"it knows {', '.join(some)}{more}",
                )

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        """Boxes of the classes, or of all where none is named."""
        picture = Image.fromarray(image_hwc)
        inputs = self._processor(images=picture, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            outputs = self._network(**inputs)
        (found,) = self._processor.post_process_object_detection(
            outputs, threshold=self._settings.threshold, target_sizes=[picture.size[::-1]]
        )
        wanted = {phrase.lower() for phrase in phrases}
        names = [self._names[label] for label in found["labels"].tolist()]
        return [
            Proposal(tuple(box.tolist()), float(score), name)
            for box, score, name in zip(found["boxes"], found["scores"], names, strict=True)
            if not wanted or name.lower() in wanted
        ]


class DetectionsFinder:
    """Proposes what a function detects."""

    def __init__(self, detect: Detect, name: str, threshold: float) -> None:
        """Call `detect`, and take what scores `threshold` or more."""
        self._detect, self._name, self._threshold = detect, name, threshold

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        """Boxes, or masks where there are some, of the classes; of all where none is named.

        Raises:
            FinderError: The function returns something else.
        """
        found: Any = self._detect(image_hwc)
        if not isinstance(found, sv.Detections):
            raise FinderError(
                f"detector {self._name} returned {type(found).__name__}, not supervision.Detections"
            )
        if phrases and len(found) and CLASS_NAME_DATA_FIELD not in found.data:
            raise FinderError(
                f"detector {self._name} gives no names of classes",
                f'set detections.data["{CLASS_NAME_DATA_FIELD}"], or look for all',
            )
        wanted = {phrase.lower() for phrase in phrases}
        return [
            proposal
            for proposal in _proposals(found)
            if proposal.score >= self._threshold
            and (not wanted or (proposal.label or "").lower() in wanted)
        ]


def _proposals(found: sv.Detections) -> Iterator[Proposal]:
    names = found.data.get(CLASS_NAME_DATA_FIELD)
    for i, (x0, y0, x1, y1) in enumerate(found.xyxy.tolist()):
        yield Proposal(
            (x0, y0, x1, y1),
            1.0 if found.confidence is None else float(found.confidence[i]),
            None if names is None else str(names[i]),
            None if found.mask is None else np.asarray(found.mask[i], np.bool_),
        )
