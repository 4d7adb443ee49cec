"""Loaded and warm model of a worker, and the policy of its sessions."""

import logging
from dataclasses import replace

import numpy as np

from tracker.daemon.config.schema import LimitsConfig, ModelConfig
from tracker.engine import POLICIES, Policy, Session
from tracker.models import Model, load_model
from tracker.types import Prompt

_LOG = logging.getLogger("trackd.server")
_WARM_UP_FRAMES = 3


def warm_model(config: ModelConfig, limits: LimitsConfig) -> tuple[Model, Policy]:
    """The network, loaded and run a few times, so that the first frames are not slow."""
    model = load_model(
        config.name,
        checkpoint=config.checkpoint,
        device=config.device,
        dtype=config.dtype,
        without=config.without,
    )
    policy = replace(
        POLICIES[config.policy],
        max_objects=limits.objects_per_stream,
        history_frames=config.history_frames,
    )
    session = Session(model, policy)
    grey_hwc = np.full((480, 640, 3), 128, np.uint8)
    for frame in range(_WARM_UP_FRAMES):
        session.step(grey_hwc)
        if frame == 0:
            session.prompt(Prompt(1, box_xyxy=(160, 120, 480, 360)))
    _LOG.info(
        "model %s is warm, on %s in %s, optimizations: %s",
        config.name,
        model.device,
        model.precision,
        ", ".join(model.optimizations) or "none",
    )
    return model, policy
