"""The official networks, built from the sam2 package's own configurations."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from hydra.utils import instantiate
from omegaconf import OmegaConf
from pydantic import BaseModel, Field, ValidationError
from sam2.modeling.sam2_base import SAM2Base

from tracker.errors import ModelError
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
_MOST_CONFIG_BYTES = 1 << 20


class _FolderConfig(BaseModel):
    """The part of a `Sam2VideoConfig` of transformers that the weights do not tell."""

    image_size: Annotated[int, Field(gt=0, le=4096, multiple_of=32)] = OFFICIAL_INPUT.size


def read_image_size(weights: Path) -> int:
    """Side of the input in pixels: that of the `config.json` in a folder, else the official one.

    Raises:
        ModelError: There is such a file, and it states no size.
    """
    path = weights / "config.json"
    if not path.is_file():
        return OFFICIAL_INPUT.size
    try:
        with path.open("rb") as file:
            return _FolderConfig.model_validate_json(file.read(_MOST_CONFIG_BYTES)).image_size
    except (OSError, ValidationError) as err:
        reason = err.errors()[0]["msg"] if isinstance(err, ValidationError) else err.strerror
        raise ModelError(
            f"{path} is not a configuration of SAM 2: {reason}",
            "use the config.json that came with the weights",
        ) from err


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
