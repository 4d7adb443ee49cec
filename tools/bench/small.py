"""Small networks of each family, for trials and tests: sizes shrink, the code is the same.

Their weights are random, and say that objects are there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from tracker.errors import UsageError
from tracker.extras import quiet
from tracker.models.edgetam.family import TRUNK
from tracker.models.efficienttam.build import Architecture, build_efficienttam
from tracker.models.hugging_face.checkpoint import transformers

EDGETAM_SIZE, SAM3_SIZE, SAM2_SIZE = 128, 112, 128
EFFICIENTTAM = Architecture(width=64, heads=2, image_size=128)


def edgetam() -> Any:
    """An `EdgeTamVideoModel` for pictures of 128 pixels."""
    from transformers import (
        EdgeTamVideoConfig,
        EdgeTamVideoModel,
        EdgeTamVisionConfig,
        TimmWrapperConfig,
    )

    config = EdgeTamVideoConfig(
        image_size=EDGETAM_SIZE,
        prompt_encoder_config={"image_size": EDGETAM_SIZE},
        vision_config=EdgeTamVisionConfig(
            backbone_config=TimmWrapperConfig(**TRUNK),
            backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]],
        ),
        memory_attention_rope_feat_sizes=[8, 8],
        memory_attention_rope_k_sizes=[4, 4],
        perceiver_resampler_num_latents=24,
        perceiver_resampler_num_latents_2d=16,
    )
    return seeded(EdgeTamVideoModel, config)


def sam3_tracker() -> Any:
    """A `Sam3TrackerVideoModel` for pictures of 112 pixels."""
    from transformers import Sam3TrackerVideoConfig, Sam3TrackerVideoModel

    trunk = {
        "model_type": "sam3_vit_model",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": SAM3_SIZE,
        "window_size": 4,
        "global_attn_indexes": [1, 3],
        "pretrain_image_size": 56,
    }
    vision = {"model_type": "sam3_vision_model", "backbone_config": trunk}
    config = Sam3TrackerVideoConfig(vision_config=vision, image_size=SAM3_SIZE)
    return seeded(Sam3TrackerVideoModel, config)


def sam2() -> Any:
    """A `Sam2VideoModel` for pictures of 128 pixels."""
    from transformers import Sam2VideoConfig, Sam2VideoModel

    config = Sam2VideoConfig(
        image_size=SAM2_SIZE,
        prompt_encoder_config={"image_size": SAM2_SIZE},
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "image_size": [SAM2_SIZE, SAM2_SIZE],
            },
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        memory_attention_rope_feat_sizes=[8, 8],
    )
    return seeded(Sam2VideoModel, config)


def seeded(cls: Callable[[Any], Any], config: Any) -> Any:
    """A network of transformers in eval mode, of whose weights none is zero."""
    torch.manual_seed(1)
    network = cls(config).eval().requires_grad_(False)
    randomize(network)
    nn.init.constant_(network.mask_decoder.pred_obj_score_head.proj_out.bias, 3.0)
    shared = network.shared_image_embedding.positional_embedding
    network.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return network


def randomize(network: nn.Module) -> None:
    """Draw all weights but those of a trunk, whose own draw keeps its features in range."""
    for name, parameter in network.named_parameters():
        if "trunk" in name or "vision_encoder" in name:
            if parameter.ndim > 1 and parameter.abs().max() == 0:
                nn.init.normal_(parameter, std=0.02)
        elif "norm" not in name:
            nn.init.normal_(parameter, std=0.05)


def efficienttam() -> nn.Module:
    """An EfficientTAM for pictures of 128 pixels."""
    torch.manual_seed(1)
    network: nn.Module = build_efficienttam(EFFICIENTTAM)
    network.eval().requires_grad_(False)
    randomize(network)
    nn.init.constant_(
        network.get_parameter("sam_mask_decoder.pred_obj_score_head.layers.2.bias"), 3.0
    )
    return network


NETWORKS = {"edgetam": edgetam, "sam3-tracker": sam3_tracker, "sam2.1-tiny": sam2}


def save_small(name: str, folder: Path) -> Path:
    """Save the small network of a model into a folder; returns what `load_model` takes.

    Raises:
        UsageError: There is none.
    """
    if name in NETWORKS:
        with quiet(transformers()):
            NETWORKS[name]().save_pretrained(folder)
        return folder
    if name != "efficienttam-ti":
        known = ", ".join((*NETWORKS, "efficienttam-ti"))
        raise UsageError(f"there is no small {name}", f"choose of {known}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "small.safetensors"
    save_file(efficienttam().state_dict(), path)
    path.with_suffix(".json").write_text(EFFICIENTTAM.model_dump_json())
    return path
