"""The official networks, built from the sam2 package's own configurations."""

from importlib.resources import files
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from sam2.modeling.sam2_base import SAM2Base

from tracker.models.model import InputSpec
from tracker.models.registry import ModelSpec

OFFICIAL_INPUT = InputSpec(
    size=1024, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize="pil"
)
# The official builder of the video predictor adds these to every configuration.
PREDICTOR_FLAGS: dict[str, Any] = {
    "binarize_mask_from_pts_for_mem_enc": True,
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
}
_BACKBONE_STRIDE = 16


def build_official(
    spec: ModelSpec, cls: type[SAM2Base] = SAM2Base, *, image_size: int | None = None, **extra: Any
) -> SAM2Base:
    """Build an official network with random weights, on the CPU, in training mode.

    The configuration is read from the package directly, so it does not matter how, or whether,
    the caller has initialised hydra.

    Args:
        spec: An official entry of the registry.
        cls: `SAM2Base` or a subclass, such as the official `SAM2VideoPredictor`.
        image_size: Side of the input in pixels; None keeps the configuration's own.
        extra: Further arguments of `cls`.
    """
    config = OmegaConf.load(str(files("sam2") / "configs" / spec.config)).model
    target = {"_target_": f"{cls.__module__}.{cls.__qualname__}"}
    config = OmegaConf.merge(config, PREDICTOR_FLAGS, target, extra)
    if image_size is not None:
        config.image_size = image_size
        side = image_size // _BACKBONE_STRIDE
        layer = config.memory_attention.layer
        layer.self_attention.feat_sizes = layer.cross_attention.feat_sizes = [side, side]
    return instantiate(config)
