"""Time of a frame by stage, and how near each stage comes to the machine's limits.

A session tracks as it always does, while the engine's four verbs are timed: image encoder, memory
attention, mask decoder, memory encoder; the rest is resizing, the memory bank and masks at the size
of the frame. Operations are counted in the official network, bytes are those of weights, inputs and
outputs, each once. The limits are this machine's own, measured before and after.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice

import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from tools.bench import options as common
from tools.bench.conditions import conditions_of
from tools.bench.counting import count_flops
from tools.bench.footage import Images, find_clip, first_frames, square_masks
from tools.bench.limits import copy_gbs, matmul_gflops
from tools.bench.models import load, official_predictor
from tools.bench.record import Fact, Footage, Run, Series
from tools.bench.report.model_table import COPY, MATMUL
from tools.bench.stages import STAGES, VERBS, Watch, watching, weight_bytes
from tracker.engine import MemoryShape, Policy, Session
from tracker.models import Model
from tracker.types import Prompt

HELP = "ms by stage, operations, bytes, and the share of the machine's measured limits"
QUICK = {
    "model": "pico@128",
    "objects": (1, 2),
    "rounds": 2,
    "frames": 2,
    "warm_up": 2,
    "small_limits": True,
}
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.int8}
_SMALL_SIDE, _SMALL_BYTES = 128, 2**20
Rounds = tuple[tuple[float, ...], ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this suite."""
    common.add_model(parser)
    common.add_clip(parser)
    common.add_rounds(parser, rounds=5, frames=6, warm_up=18)
    parser.add_argument("--objects", type=common.wholes, default=(1, 8))
    parser.set_defaults(small_limits=False)


def measure(options: argparse.Namespace) -> Run:
    """Track, and watch the stages.

    Raises:
        UsageError: Something of what was asked for is not to be had.
    """
    conditions = conditions_of(options)
    clip = find_clip(options.clip)
    frames_nhwc = first_frames(clip, 1 + options.warm_up + options.frames, options.size)
    _, height, width, _ = frames_nhwc.shape
    model, _ = load(options.model, options.device, options.dtype)
    limits = [_limits(model.device, options)]
    times, moved = _watch(model, frames_nhwc, options)
    limits.append(_limits(model.device, options))
    plain = official_predictor(options.model, SAM2VideoPredictor, torch.device("cpu"))
    flops = count_flops(
        options.model, frames_nhwc[: 2 + options.warm_up], square_masks(1, height, width)
    )
    return conditions.run(
        suite="model",
        setting=f"{options.model} {conditions.dtype}",
        footage=Footage(clip=clip.name, width=width, height=height, decoding_timed=False),
        warm_up=options.warm_up,
        series=tuple(
            Series(name=stage, case={"objects": objects}, unit="ms", rounds=rounds)
            for objects in options.objects
            for stage, rounds in times[objects].items()
        ),
        facts=(*_best(limits), *_counted(plain, flops, moved), *_memory_per_object(model)),
    )


def _best(tries: Sequence[Sequence[Fact]]) -> list[Fact]:
    return [max(of_one, key=lambda fact: fact.value) for of_one in zip(*tries, strict=True)]


def _counted(
    plain: SAM2VideoPredictor, flops: dict[str, int], moved: dict[int, dict[str, int]]
) -> list[Fact]:
    """Operations and bytes of each stage; the image is encoded once for all objects."""
    facts = []
    for objects, of_stage in moved.items():
        case: dict[str, int | str] = {"objects": objects}
        for stage in VERBS.values():
            passes = 1 if stage == VERBS["encode_image"] else objects
            gflop = flops[stage] * passes / 1e9
            mb = (of_stage[stage] + weight_bytes(plain, stage)) / 1e6
            facts.append(Fact(name=f"FLOPs of {stage}", case=case, unit="GFLOP", value=gflop))
            facts.append(Fact(name=f"bytes of {stage}", case=case, unit="MB", value=mb))
    return facts


def _limits(device: torch.device, options: argparse.Namespace) -> list[Fact]:
    """Matrix products in each precision, and copies."""
    side, count = (_SMALL_SIDE, _SMALL_BYTES) if options.small_limits else (None, None)
    products = [
        Fact(
            name=MATMUL,
            case={"dtype": name},
            unit="GFLOP/s",
            value=matmul_gflops(device, dtype, side),
        )
        for name, dtype in _DTYPES.items()
    ]
    return [*products, Fact(name=COPY, unit="GB/s", value=copy_gbs(device, count))]


def _watch(
    model: Model, frames_nhwc: Images, options: argparse.Namespace
) -> tuple[dict[int, dict[str, Rounds]], dict[int, dict[str, int]]]:
    """Milliseconds and bytes of each stage, by the number of objects; the sessions take turns."""
    sessions = {count: _started(model, frames_nhwc, count, options) for count in options.objects}
    watch = Watch(model.device)
    times: dict[int, dict[str, list[tuple[float, ...]]]]
    times = {count: {stage: [] for stage in STAGES} for count in sessions}
    moved: dict[int, dict[str, int]] = {}
    turn_nhwc = frames_nhwc[-options.frames :]
    with watching(watch, model.network):
        for _ in range(options.rounds):
            for count, session in sessions.items():
                splits = [watch.split_ms(partial(session.step, image)) for image in turn_nhwc]
                moved[count] = watch.moved
                for stage in STAGES:
                    turn = tuple(round(split[stage], 3) for split in splits)
                    times[count][stage].append(turn)
    return {c: {s: tuple(r) for s, r in of.items()} for c, of in times.items()}, moved


def _started(model: Model, frames_nhwc: Images, count: int, options: argparse.Namespace) -> Session:
    """A session with so many objects, warm."""
    session = Session(model, replace(Policy(), max_objects=count))
    session.step(frames_nhwc[0])
    for number, mask_hw in enumerate(square_masks(count, *frames_nhwc.shape[1:3]), start=1):
        session.prompt(Prompt(number, mask_hw=mask_hw))
    for image_hwc in islice(cycle(frames_nhwc[1:]), options.warm_up):
        session.step(image_hwc)
    return session


def _memory_per_object(model: Model) -> list[Fact]:
    """Memory of one more object, by the formula of `MemoryShape`, without and with a history."""
    policy = Policy()
    facts = []
    for history in (0, policy.history_frames):
        shape = MemoryShape.of(
            model.network.memory, prompted=policy.max_prompted_memories, history=history
        )
        kib = shape.bytes_per_object / 1024
        case: dict[str, int | str] = {"history": history}
        facts.append(Fact(name="memory of one object", case=case, unit="KiB", value=kib))
    return facts
