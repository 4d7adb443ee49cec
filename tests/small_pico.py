"""pico with its packaged weights, for pictures of another size than its own."""

import torch

from tools.train.blueprint import Blueprint, first_weights
from tools.train.config import Start
from tracker.models import Model


def small_pico(size: int) -> Model:
    """A float32 model on the CPU, as it is trained: nothing rewritten to be fast."""
    blueprint = Blueprint.of(Start())
    network = blueprint.build(size)
    network.load_state_dict(first_weights(blueprint, "weights", 0))
    network.eval().requires_grad_(False)
    spec = blueprint.input_spec(size)
    return Model("pico", network, torch.device("cpu"), torch.float32, spec, "")
