"""Structural re-parameterization of a RepViT trunk, by timm's own arithmetic."""

from torch import nn

from tracker.models.timm_parts import reparameterize_model


def reparameterize_trunk(network: nn.Module) -> None:
    """Merge the branches of a transformers network's trunk into single convolutions, in place."""
    backbone = network.get_submodule("vision_encoder.backbone")
    backbone.timm_model = reparameterize_model(backbone.get_submodule("timm_model"), inplace=True)
