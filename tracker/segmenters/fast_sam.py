"""FastSAM (Zhao et al., 2023) from a user's own ONNX file, with post-processing of our own.

The network is an instance segmentation network of one class (YOLACT's prototypes and coefficients,
Bolya et al., 2019): all that it finds on a picture is then matched with the prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import nms

from tracker.errors import ModelError
from tracker.segmenters.base import Segmentation
from tracker.segmenters.onnx_file import OnnxFile
from tracker.types import Prompt

_SIDE = 1024  # of the input, where the file does not say
_GREY = 114  # around a picture that is no square
_LEAST_SCORE = 0.4
_NMS_IOU = 0.9
_BOX_AND_SCORE = 5  # channels before the coefficients: centre, size, score


@dataclass(frozen=True, slots=True)
class Letterbox:
    """A picture scaled into the middle of a square.

    Attributes:
        square_hwc: RGB uint8 [side, side, 3].
        top, left, height, width: The picture in it.
    """

    square_hwc: NDArray[np.uint8]
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, image_hwc: NDArray[np.uint8], side: int) -> "Letterbox":
        """Scale a picture into a square of `side` pixels."""
        scale = side / max(image_hwc.shape[:2])
        height, width = (max(1, round(length * scale)) for length in image_hwc.shape[:2])
        top, left = (side - height) // 2, (side - width) // 2
        square_hwc = np.full((side, side, 3), _GREY, np.uint8)
        resized_hwc = cv2.resize(image_hwc, (width, height), interpolation=cv2.INTER_LINEAR)
        square_hwc[top : top + height, left : left + width] = resized_hwc
        return cls(square_hwc, top, left, height, width)


class FastSam:
    """Segments all of a picture once, and answers every prompt from that."""

    def __init__(self, folder: Path, device: torch.device, name: str) -> None:
        """Load `model.onnx` of a folder.

        Raises:
            TrackdError: As `OnnxFile`.
        """
        self._network = OnnxFile(folder / "model.onnx", device, who=name)
        ((self._input, shape), *others) = self._network.input_shapes.items()
        if others or len(shape) != 4 or shape[1] not in (3, None, "channels"):
            raise ModelError(
                f"{self._network.path} takes {', '.join(self._network.input_shapes)}, not one "
                "picture",
                f"give the ONNX file of {name}",
            )
        self._network.require([self._input], outputs=2)
        self._side = shape[-1] if isinstance(shape[-1], int) else _SIDE

    def segment(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        """The mask that fits each prompt best.

        Raises:
            ModelError: The file's outputs are not those of FastSAM.
        """
        masks_khw, score_k = self.everything(image_hwc)
        found = Segmentation.empty(len(prompts), *image_hwc.shape[:2])
        for index, prompt in enumerate(prompts):
            best = _best(masks_khw, score_k, prompt)
            if best is not None:
                found.masks_nhw[index], found.scores_n[index] = masks_khw[best], score_k[best]
        return found

    def everything(
        self, image_hwc: NDArray[np.uint8]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Masks [K, H, W] and scores [K] of all that the network finds, best first."""
        box = Letterbox.of(image_hwc, self._side)
        picture = box.square_hwc.transpose(2, 0, 1)[None].astype(np.float32) / 255
        outputs = self._network.run({self._input: picture})
        detections_kc, prototypes_mhw = self._checked(outputs)
        good_k = detections_kc[:, _BOX_AND_SCORE - 1] >= _LEAST_SCORE
        detections_kc = detections_kc[good_k]
        centre_k2, half_k2 = detections_kc[:, :2], detections_kc[:, 2:4] / 2
        boxes_k4 = np.concatenate([centre_k2 - half_k2, centre_k2 + half_k2], axis=1)
        score_k = detections_kc[:, _BOX_AND_SCORE - 1]
        kept = nms(torch.from_numpy(boxes_k4), torch.from_numpy(score_k), _NMS_IOU).numpy()
        coefficients_km = detections_kc[kept, _BOX_AND_SCORE:]
        logits_khw = np.tensordot(coefficients_km, prototypes_mhw, axes=1)
        masks_khw = np.zeros((len(kept), *image_hwc.shape[:2]), np.bool_)
        for mask_hw, logits_hw, edges in zip(masks_khw, logits_khw, boxes_k4[kept], strict=True):
            mask_hw[...] = self._upsampled(logits_hw, edges, box, image_hwc.shape[:2])
        return masks_khw, score_k[kept]

    def _checked(
        self, outputs: list[NDArray[np.float32]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Detections [K, 5 + m] and prototypes [m, h, w]."""
        detections = next((out[0] for out in outputs if out.ndim == 3), None)
        prototypes = next((out[0] for out in outputs if out.ndim == 4), None)
        if (
            detections is None
            or prototypes is None
            or (detections.shape[0] != _BOX_AND_SCORE + prototypes.shape[0])
        ):
            shapes = ", ".join(str(list(out.shape)) for out in outputs)
            raise ModelError(
                f"{self._network.path} gives {shapes}, which FastSAM does not",
                "give an export with one class, mask coefficients and prototypes",
            )
        return np.ascontiguousarray(detections.T), prototypes

    def _upsampled(
        self,
        logits_hw: NDArray[np.float32],
        edges_xyxy: NDArray[np.float32],
        box: Letterbox,
        size_hw: tuple[int, ...],
    ) -> NDArray[np.bool_]:
        """A mask within its box at the size of the picture."""
        square = cv2.resize(logits_hw, (self._side, self._side), interpolation=cv2.INTER_LINEAR)
        x0, y0, x1, y1 = np.clip(edges_xyxy.round().astype(int), 0, self._side)
        inside = np.full_like(square, -1.0)
        inside[y0:y1, x0:x1] = square[y0:y1, x0:x1]
        part = inside[box.top : box.top + box.height, box.left : box.left + box.width]
        mask_hw = cv2.resize(part, size_hw[::-1], interpolation=cv2.INTER_LINEAR) > 0
        return np.asarray(mask_hw, np.bool_)


def _best(masks_khw: NDArray[np.bool_], score_k: NDArray[np.float32], prompt: Prompt) -> int | None:
    """The mask that fits points first, then a box, then by its score; None where none does."""
    fit = np.zeros(len(masks_khw))
    for (x, y), label in zip(prompt.points_xy, prompt.point_labels, strict=True):
        fit += masks_khw[:, int(y), int(x)] * (1.0 if label else -1.0)
    if prompt.points_xy and prompt.box_xyxy is None:
        fit = np.where(fit > 0, fit + score_k / 2, 0)
    if prompt.box_xyxy is not None:
        fit = fit + _box_ious(masks_khw, prompt.box_xyxy)
    if not len(fit) or fit.max() <= 0:
        return None
    return int(fit.argmax())


def _box_ious(
    masks_khw: NDArray[np.bool_], box_xyxy: tuple[float, float, float, float]
) -> NDArray[np.float64]:
    """IoU of each mask with a box that is filled."""
    x0, y0, x1, y1 = (round(edge) for edge in box_xyxy)
    inside_k = masks_khw[:, y0:y1, x0:x1].sum(axis=(1, 2))
    union_k = masks_khw.sum(axis=(1, 2)) + (x1 - x0) * (y1 - y0) - inside_k
    return np.asarray(inside_k / np.maximum(union_k, 1), np.float64)
