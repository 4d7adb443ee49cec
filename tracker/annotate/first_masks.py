"""First masks of objects, made by a segmenter from the points or the box that prompt them."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tracker.errors import ModelError, PromptError, UsageError
from tracker.finders.boxes import padded_box
from tracker.segmenters.base import Segmentation, Segmenter
from tracker.types import Prompt

MAX_BOX_PADDING = 0.5


class FirstMasks:
    """Turns the points or the box with which an object begins into a mask prompt.

    Later points and boxes stay what they are: they correct the mask that is tracked.
    """

    def __init__(self, segmenter: Segmenter, name: str, box_padding: float = 0.0) -> None:
        """Have `segmenter` make the masks; `name` is what it is called in errors.

        `box_padding` grows boxes before, by a share of their size on each side: detectors draw
        them tight.

        Raises:
            UsageError: The padding is out of its range.
        """
        if not 0 <= box_padding <= MAX_BOX_PADDING:
            raise UsageError(
                f"box padding {box_padding:g}", f"give a number from 0 to {MAX_BOX_PADDING}"
            )
        self._segmenter = segmenter
        self._name = name
        self._box_padding = box_padding

    def applied(
        self, prompts: Sequence[Prompt], frame: Frame, known_ids: Collection[int]
    ) -> list[Prompt]:
        """The prompts on a frame, with masks for the objects that are not tracked yet.

        Raises:
            PromptError: The segmenter finds nothing where an object is prompted.
            ModelError: It gives masks of another number or size.
        """
        drawn = [p for p in prompts if p.mask_hw is None and p.object_id not in known_ids]
        if not drawn:
            return list(prompts)
        masks_nhw = self.segmented(frame.image, drawn).masks_nhw
        masked: dict[int, Prompt] = {}
        for prompt, mask_hw in zip(drawn, masks_nhw, strict=True):
            if not mask_hw.any():
                raise PromptError(
                    f"segmenter {self._name} finds nothing at the prompt for object "
                    f"{prompt.object_id} on frame {frame.seq}",
                    "prompt it with a mask, or without the segmenter",
                )
            masked[prompt.object_id] = replace(
                prompt, points_xy=(), point_labels=(), box_xyxy=None, mask_hw=mask_hw
            )
        return [masked.get(prompt.object_id, prompt) for prompt in prompts]

    def segmented(self, image_hwc: NDArray[np.uint8], prompts: Sequence[Prompt]) -> Segmentation:
        """The masks of prompts with points or a box, which are empty where nothing is found.

        Raises:
            ModelError: The segmenter gives masks of another number or size.
        """
        height, width = image_hwc.shape[:2]
        padded = [self._padded(prompt, height, width) for prompt in prompts]
        found = self._segmenter.segment(image_hwc, padded)
        masks_nhw, wanted = found.masks_nhw, (len(prompts), height, width)
        if masks_nhw.shape != wanted or masks_nhw.dtype != np.bool_:
            raise ModelError(
                f"segmenter {self._name} gives {masks_nhw.dtype} {list(masks_nhw.shape)}, "
                f"not bool {list(wanted)}",
                "use another one",
            )
        return found

    def _padded(self, prompt: Prompt, height: int, width: int) -> Prompt:
        if prompt.box_xyxy is None or self._box_padding == 0:
            return prompt
        box_xyxy = padded_box(prompt.box_xyxy, self._box_padding, height, width)
        return replace(prompt, box_xyxy=box_xyxy)
