"""A SAM 2.1 network of the official architecture with random weights, for small pictures."""

from dataclasses import replace
from functools import cache

import torch

from tracker.models import Model, find_spec
from tracker.models.sam2.adapter import Sam2Model
from tracker.models.sam2.build import OFFICIAL_INPUT, build_official


@cache
def random_sam2(size: int = 128) -> Model:
    """`sam2.1-tiny` for pictures of `size` pixels, fp32, not optimized."""
    torch.manual_seed(3)
    spec = replace(OFFICIAL_INPUT, size=size)
    network = build_official(find_spec("sam2.1-tiny"), image_size=size)
    network.eval().requires_grad_(False)
    cpu = torch.device("cpu")
    return Model("sam2.1-random", Sam2Model(network, spec), cpu, torch.float32, spec, "random")
