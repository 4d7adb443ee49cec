"""First masks of objects, made by a segmenter from the points or the box that prompt them."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from streams.frame import Frame
from tracker.errors import ModelError, PromptError
from tracker.segmenters.base import Segmenter
from tracker.types import Prompt


class FirstMasks:
    """Turns the points or the box with which an object begins into a mask prompt.

    Later points and boxes stay what they are: they correct the mask that is tracked.
    """

    def __init__(self, segmenter: Segmenter, name: str) -> None:
        """Have `segmenter` make the masks; `name` is what it is called in errors."""
        self._segmenter = segmenter
        self._name = name

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
        masks_nhw = self._segmenter.segment(frame.image, drawn).masks_nhw
        wanted = (len(drawn), *frame.image.shape[:2])
        if masks_nhw.shape != wanted or masks_nhw.dtype != np.bool_:
            raise ModelError(
                f"segmenter {self._name} gives {masks_nhw.dtype} {list(masks_nhw.shape)}, "
                f"not bool {list(wanted)}",
                "use another one",
            )
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
