"""Recall of true objects by automatic masks: ours beside the generator of the sam2 package.

Both use the same weights and the same controls, on each picture in turn.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

from tools.finding.stills import Still, best_ious
from tracker.finders.automatic_masks import AutomaticMasks
from tracker.finders.everything import fitted_settings
from tracker.finders.settings import AutomaticMaskSettings
from tracker.models import Model
from tracker.models.checkpoints import checkpoint_path
from tracker.models.pico.build import build_pico, read_pico_config
from tracker.models.registry import find_spec
from tracker.models.state_dict import load_strictly, read_state

Generate = Callable[[NDArray[np.uint8]], NDArray[np.bool_]]


@dataclass(slots=True)
class Score:
    """What one generator found in a data set.

    Attributes:
        generator, data: Their names.
        ious: Best IoU of each true object.
        masks: Masks of all pictures.
        pictures: How many there were.
        busy_s: Seconds for all of them.
    """

    generator: str
    data: str
    ious: list[float] = field(default_factory=list)
    masks: int = 0
    pictures: int = 0
    busy_s: float = 0.0

    def row(self) -> dict[str, Any]:
        """As the table has it."""
        ious = np.array(self.ious or [0.0])
        pictures = max(1, self.pictures)
        return {
            "data": self.data,
            "generator": self.generator,
            "pictures": self.pictures,
            "objects": len(self.ious),
            "recall_50": round(float((ious >= 0.5).mean()), 3),
            "recall_75": round(float((ious >= 0.75).mean()), 3),
            "masks_per_picture": round(self.masks / pictures, 1),
            "s_per_picture": round(self.busy_s / pictures, 2),
        }


def measure(
    data: str,
    stills: Iterable[Still],
    generators: dict[str, Generate],
    on_picture: Callable[[int], None],
) -> list[Score]:
    """Scores of the generators, which take turns on each picture; Ctrl-C keeps what there is."""
    scores = {name: Score(name, data) for name in generators}
    try:
        for number, still in enumerate(stills, 1):
            for name, generate in generators.items():
                begun_s = time.perf_counter()
                found_khw = generate(still.image_hwc)
                spent_s = time.perf_counter() - begun_s
                score = scores[name]
                score.busy_s += spent_s
                score.ious += best_ious(still.truths_nhw, found_khw).tolist()
                score.masks += len(found_khw)
                score.pictures += 1
            on_picture(number)
    except KeyboardInterrupt:
        pass
    return list(scores.values())


def our_generator(model: Model, settings: AutomaticMaskSettings) -> Generate:
    """`tracker.finders.automatic_masks` with the model as it is loaded."""
    masks = AutomaticMasks(model, fitted_settings(model.name, settings))

    def generate(image_hwc: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return _stacked([mask.mask_hw for mask in masks.generate(image_hwc)], image_hwc)

    return generate


def sam2_generator(settings: AutomaticMaskSettings) -> Generate:
    """The generator of the sam2 package with pico's weights, and the controls of ours."""
    spec = find_spec("pico")
    path = checkpoint_path(spec)
    config = read_pico_config(path.with_suffix(".json"))
    network = build_pico(config)
    load_strictly(network, read_state(path), path=path, config=spec.config)
    controls = fitted_settings("pico", settings).model_dump(exclude={"follow_edges"})
    generator = SAM2AutomaticMaskGenerator(network.eval().requires_grad_(False), **controls)
    side = config.input.size  # the predictor's are those of pictures of 1024 pixels
    generator.predictor._bb_feat_sizes = [(side // stride,) * 2 for stride in (4, 8, 16)]

    def generate(image_hwc: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return _stacked([item["segmentation"] for item in generator.generate(image_hwc)], image_hwc)

    return generate


def _stacked(masks: list[NDArray[np.bool_]], image_hwc: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.stack(masks) if masks else np.zeros((0, *image_hwc.shape[:2]), np.bool_)
