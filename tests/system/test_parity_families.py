"""Each family in our engine against its own reference: same weights, frames and prompts, fp32.

The references are the video models of transformers, and for EfficientTAM the official predictor
over its modules. One scenario holds what the tests of SAM 2 have apart: clicks, a box and a mask,
an object added late, one corrected and one replaced.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor

from streams import open_source
from tools.bench import small
from tools.bench.agreement import (
    Agreement,
    Scenario,
    agreement,
    run_official,
    run_ours,
    write_frames,
)
from tools.bench.models import seeded
from tracker.engine import OFFICIAL
from tracker.models import InputSpec, Model, load_model
from tracker.models.efficienttam.build import build_efficienttam
from tracker.models.optim.plan import Target, optimize
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.sam2.build import OFFICIAL_INPUT
from tracker.types import Prompt

pytest.importorskip("transformers")
from tools.bench.agreement_transformers import run_transformers

IOU_AT_LEAST = 0.999
LOGITS_WITHIN = 1e-3  # they run to about 1
FRAMES = 18

CLICK = Prompt(1, ((320.0, 200.0),), (1,))
BOX = Prompt(2, box_xyxy=(200.0, 60.0, 470.0, 330.0))
MASK = np.zeros((360, 640), np.bool_)
MASK[100:260, 240:420] = True
EVERYTHING = Scenario(
    "everything",
    FRAMES,
    (
        (0, CLICK),
        (4, BOX),
        (6, Prompt(1, ((340.0, 150.0), (200.0, 300.0)), (1, 0))),
        (9, Prompt(2, mask_hw=MASK)),
    ),
)


@pytest.fixture(scope="module")
def frames(bunny_clip: Path) -> list[NDArray[np.uint8]]:
    with open_source(str(bunny_clip)) as source:
        return [np.ascontiguousarray(f.image[::2, ::2]) for f in islice(source, FRAMES)]


def check(found: Agreement) -> None:
    print(found)
    assert found.filled > found.compared / 2, "the scenario compares empty masks"
    assert found.lowest_iou >= IOU_AT_LEAST
    assert found.largest_logit_difference <= LOGITS_WITHIN


@pytest.mark.slow
@pytest.mark.parametrize("name", ["edgetam", "sam3-tracker"])
def test_a_family_agrees_with_its_model_in_transformers(
    name: str, tmp_path: Path, frames: list[NDArray[np.uint8]]
) -> None:
    reference = small.NETWORKS[name]()
    model = load_model(
        name, checkpoint=small.save_small(name, tmp_path), device="cpu", dtype="fp32"
    )
    theirs = run_transformers(EVERYTHING, reference, model.input, frames)
    check(agreement(EVERYTHING, run_ours(EVERYTHING, model, OFFICIAL, frames), theirs))
    # Or the comparison would not tell whether memories are recalled as they should be.
    model.network._map_pos_1qm = torch.zeros_like(model.network._map_pos_1qm)
    start = replace(EVERYTHING, frames=3)
    others = run_ours(start, model, OFFICIAL, frames)
    found = agreement(start, others, {key: theirs[key] for key in others})
    assert found.largest_logit_difference > LOGITS_WITHIN


@pytest.mark.slow
def test_sam2_with_weights_of_transformers_agrees_with_its_model_there(
    frames: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    """In the folder that transformers saves, whose configuration states a smaller input."""
    folder = small.save_small("sam2.1-tiny", tmp_path)
    model = load_model("sam2.1-tiny", checkpoint=folder, device="cpu", dtype="fp32")
    theirs = run_transformers(EVERYTHING, small.sam2(), model.input, frames)
    check(agreement(EVERYTHING, run_ours(EVERYTHING, model, OFFICIAL, frames), theirs))


@pytest.mark.slow
def test_efficienttam_agrees_with_the_official_predictor_over_its_modules(
    frames: list[NDArray[np.uint8]], tmp_path: Path
) -> None:
    torch.manual_seed(1)
    predictor = build_efficienttam(small.EFFICIENTTAM, SAM2VideoPredictor)
    predictor = seeded(predictor, seed=1).eval()
    pictures = replace(OFFICIAL_INPUT, size=small.EFFICIENTTAM.image_size)
    network = build_efficienttam(small.EFFICIENTTAM)
    network.load_state_dict(predictor.state_dict())
    model = tracking(network, pictures, trunk="vit", high_res=False)
    theirs = run_official(EVERYTHING, predictor, write_frames(frames, tmp_path))
    check(agreement(EVERYTHING, run_ours(EVERYTHING, model, OFFICIAL, frames), theirs))


def tracking(network: SAM2Base, pictures: InputSpec, **of_target: Any) -> Model:
    """A network of the sam2 package, optimized as `load_model` does."""
    target, cpu = Target("cpu", "fp32", pictures, **of_target), torch.device("cpu")
    optimize(network.eval().requires_grad_(False), target)
    return Model("small", Sam2Model(network, pictures), cpu, torch.float32, pictures, "seed 1")
