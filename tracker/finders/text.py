"""Finder of what words name: open-vocabulary detectors of `transformers`.

Grounding DINO (Liu et al., 2023), MM-Grounding-DINO (Zhao et al., 2024), OWLv2 (Minderer et al.,
2023) and OmDet-Turbo (Zhao et al., 2024), each with the pre- and post-processing of its processor.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.ops import batched_nms

from tracker.errors import FinderError, ModelError
from tracker.finders.base import Proposal
from tracker.finders.settings import TextSettings
from tracker.models.catalog import Task
from tracker.models.pretrained import load_pretrained, pretrained_folder

#: Boxes [n, 4], scores [n] and labels of one picture, by the library.
Detected = tuple[torch.Tensor, torch.Tensor, list[str]]


class TextFinder:
    """Proposes boxes for phrases; a phrase becomes the label."""

    def __init__(self, device: torch.device, settings: TextSettings) -> None:
        """Load the model.

        Raises:
            UsageError: `transformers` is not installed.
            UnknownModelError: There is no such model.
            ModelError: It is not here, damaged, or of another kind.
        """
        folder, extra = pretrained_folder(settings.model, Task.TEXT)
        loaded = load_pretrained("AutoModelForZeroShotObjectDetection", folder, device, extra=extra)
        self._network, self._processor = loaded
        family = self._network.config.model_type
        if family not in _FAMILIES:
            raise ModelError(
                f"{settings.model} is a {family}, which the text finder cannot ask",
                f"use one of {', '.join(_FAMILIES)}",
            )
        self._detect = _FAMILIES[family]
        self._device, self._settings = device, settings

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str]) -> list[Proposal]:
        """Boxes of what the phrases name.

        Raises:
            FinderError: There is no phrase, or they are too long together.
        """
        if not phrases:
            raise FinderError("the text finder was asked for nothing", "name what to find")
        picture = Image.fromarray(image_hwc)
        with torch.inference_mode():
            boxes_n4, score_n, labels = self._detect(self, picture, list(phrases))
        kept = _without_duplicates(boxes_n4, score_n, labels, self._settings.nms_threshold)
        return [
            Proposal(tuple(boxes_n4[i].tolist()), float(score_n[i]), labels[i] or None)
            for i in kept
        ]

    def _grounding_dino(self, picture: Image.Image, phrases: list[str]) -> Detected:
        inputs = self._inputs(images=picture, text=[phrases])
        longest = self._network.config.max_text_len if _limits_text(self._network) else None
        if longest is not None and inputs["input_ids"].shape[1] > longest:
            raise FinderError(
                f"the phrases are {inputs['input_ids'].shape[1]} tokens, more than {longest}",
                "look for fewer things at a time",
            )
        (found,) = self._processor.post_process_grounded_object_detection(
            self._network(**inputs),
            inputs["input_ids"],
            threshold=self._settings.box_threshold,
            text_threshold=self._settings.text_threshold,
            target_sizes=[picture.size[::-1]],
        )
        labels = [closest_phrase(text, phrases) for text in found["text_labels"]]
        return found["boxes"], found["scores"], labels

    def _owl(self, picture: Image.Image, phrases: list[str]) -> Detected:
        (found,) = self._processor.post_process_grounded_object_detection(
            self._network(**self._inputs(images=picture, text=[phrases])),
            threshold=self._settings.box_threshold,
            target_sizes=[picture.size[::-1]],
            text_labels=[phrases],
        )
        return found["boxes"], found["scores"], list(found["text_labels"])

    def _omdet(self, picture: Image.Image, phrases: list[str]) -> Detected:
        (found,) = self._processor.post_process_grounded_object_detection(
            self._network(**self._inputs(images=picture, text=[phrases])),
            text_labels=[phrases],
            threshold=self._settings.box_threshold,
            nms_threshold=self._settings.nms_threshold,
            target_sizes=[picture.size[::-1]],
        )
        return found["boxes"], found["scores"], list(found["text_labels"])

    def _inputs(self, **given: Any) -> Any:
        return self._processor(**given, return_tensors="pt").to(self._device)


_FAMILIES: Mapping[str, Callable[[TextFinder, Image.Image, list[str]], Detected]]
_FAMILIES = MappingProxyType(
    {
        "grounding-dino": TextFinder._grounding_dino,
        "mm-grounding-dino": TextFinder._grounding_dino,
        "owlv2": TextFinder._owl,
        "omdet-turbo": TextFinder._omdet,
    }
)


def closest_phrase(words: str, phrases: Sequence[str]) -> str:
    """The phrase that shares most with the words that Grounding DINO found, "" for none.

    It gives the words of a phrase that pass its threshold, which need not be all, and may be those
    of two phrases, with the dots between them.
    """
    found = _words(words)

    def shared(phrase: str) -> float:
        wanted = _words(phrase)
        return len(found & wanted) / len(found | wanted) if found else 0.0

    if len(phrases) == 1:
        return phrases[0]
    best = max(phrases, key=shared)
    return best if shared(best) > 0 else ""


def _words(text: str) -> set[str]:
    return set(text.lower().replace(".", " ").split())


def _limits_text(network: Any) -> bool:
    return getattr(network.config, "max_text_len", None) is not None


def _without_duplicates(
    boxes_n4: torch.Tensor, score_n: torch.Tensor, labels: Sequence[str], iou: float
) -> list[int]:
    """Places of the boxes that are left of each label, best first."""
    names = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    of_label_n = torch.tensor([names[label] for label in labels], dtype=torch.long)
    kept: list[int] = batched_nms(
        boxes_n4.float().cpu(), score_n.float().cpu(), of_label_n, iou
    ).tolist()
    return kept
