"""How finely a network keeps its memories."""

from dataclasses import replace

from sam2.modeling.sam2_base import SAM2Base

from tracker.models.model import Model
from tracker.models.sam2.resize import with_shared_weights

WHOLE = 1


def memory_pool(network: SAM2Base) -> int:
    """Side of the squares of tokens that a memory keeps the means of; 1 in official networks."""
    return int(getattr(network, "memory_pool", WHOLE))


def with_whole_memories(model: Model) -> Model:
    """The model as the official predictor runs it: a memory keeps every token."""
    if memory_pool(model.network) == WHOLE:
        return model
    network = with_shared_weights(model.network)
    network.memory_pool = WHOLE
    return replace(model, network=network, sizes={})
