"""True if our masks equal those of a model's own code, on a device: IoU and logits, fp32.

That is the official predictor, or a model of transformers where the network is one of its classes.

The tests ask the same of more scenarios on a CPU; this asks it of any device. It fails where logits
differ by more than rounding: the IoU of a mask of few pixels shows a rounded pixel at its border.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from tools.bench import options as common
from tools.bench.agreement import (
    Agreement,
    Scenario,
    agreement,
    compare,
    run_ours,
    write_frames,
)
from tools.bench.conditions import conditions_of
from tools.bench.footage import Images, Size, find_clip, first_frames, square_masks
from tools.bench.models import find_weights, load, official_predictor
from tools.bench.record import Case, Fact, Footage, Run
from tracker.engine import OFFICIAL
from tracker.errors import UsageError
from tracker.models import Model, find_spec
from tracker.models.hugging_face.network import HuggingFaceModel
from tracker.models.load import find_family
from tracker.types import Prompt

HELP = "whether masks equal those of a model's own code, on any device"
QUICK = {"model": "pico@128"}
LOGITS_WITHIN = 0.05  # they run to about 20
FEWEST_FRAMES = 16  # the official predictor treats a shorter video in another way
_SIZE = Size(640, 360)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser, scaled=False)
    parser.add_argument("--frames", type=common.whole, default=18, help="of each scenario")
    parser.set_defaults(dtype="fp32")


def measure(options: argparse.Namespace) -> Run:
    """Track every scenario twice, and compare.

    Raises:
        UsageError: Something of what was asked for is not to be had.
    """
    if options.frames < FEWEST_FRAMES:
        raise UsageError(f"{options.frames} frames are too few", f"give at least {FEWEST_FRAMES}")
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    frames_nhwc = first_frames(clip, options.frames, _SIZE)
    torch.backends.cudnn.allow_tf32 = False  # else convolutions differ in the third digit
    facts, failures = [], []
    for found in _agreements(options, frames_nhwc):
        case: Case = {"scenario": found.scenario}
        facts += [
            Fact(name="lowest IoU", case=case, unit="", value=found.lowest_iou),
            Fact(
                name="largest difference",
                case=case,
                unit="logits",
                value=found.largest_logit_difference,
            ),
            Fact(name="masks not empty", case=case, unit="masks", value=found.filled),
        ]
        difference = found.largest_logit_difference
        if difference > LOGITS_WITHIN:
            failures.append(f"{found.scenario}: logits differ by {difference:.3f}")
    return conditions.run(
        suite="parity",
        setting=f"{options.model} {conditions.dtype} on {options.device}",
        footage=Footage(
            clip=clip.name, width=_SIZE.width, height=_SIZE.height, decoding_timed=False
        ),
        facts=tuple(facts),
        failure="; ".join(failures),
    )


def _agreements(options: argparse.Namespace, frames_nhwc: Images) -> list[Agreement]:
    model, _ = load(options.model, options.device, options.dtype)
    # The official loader resizes with PIL; here the filter is not what is compared.
    model = replace(model, input=replace(model.input, resize="pil"))
    scenarios = _scenarios(len(frames_nhwc))
    if isinstance(model.network, HuggingFaceModel):
        return _against_transformers(scenarios, model, options.model, list(frames_nhwc))
    predictor = official_predictor(options.model, SAM2VideoPredictor, model.device)
    with tempfile.TemporaryDirectory() as name:
        folder = write_frames(list(frames_nhwc), Path(name))
        return [
            compare(scenario, predictor, model, OFFICIAL, folder, list(frames_nhwc))
            for scenario in scenarios
        ]


def _against_transformers(
    scenarios: Sequence[Scenario], model: Model, name: str, frames: Sequence[Images]
) -> list[Agreement]:
    """Ours against the class of transformers that has the network, with the same weights."""
    from tools.bench.agreement_transformers import run_transformers

    spec = find_spec(name.partition("@")[0])
    reference = find_family(spec).build(spec, find_weights(name).path)
    reference.eval().requires_grad_(False).to(model.device)
    return [
        agreement(
            scenario,
            run_ours(scenario, model, OFFICIAL, frames),
            run_transformers(scenario, reference, model.input, frames),
        )
        for scenario in scenarios
    ]


def _scenarios(frames: int) -> list[Scenario]:
    click = Prompt(1, ((320.0, 200.0),), (1,))
    box = Prompt(2, box_xyxy=(200.0, 60.0, 470.0, 330.0))
    mask = Prompt(3, mask_hw=np.asarray(square_masks(1, _SIZE.height, _SIZE.width)[0]))
    correction = Prompt(3, ((120.0, 60.0), (400.0, 300.0)), (1, 0))
    return [
        Scenario("three objects", frames, ((0, click), (0, box), (0, mask))),
        Scenario("one added later", frames, ((0, click), (4, box))),
        Scenario("one corrected", frames, ((0, mask), (4, correction))),
    ]
