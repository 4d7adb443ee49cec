"""EdgeTAM as a `Family`."""

from typing import Any

from tracker.models.edgetam.adapter import EdgeTamModel
from tracker.models.hugging_face.checkpoint import transformers
from tracker.models.hugging_face.family import HuggingFaceFamily
from tracker.models.sam2.build import OFFICIAL_INPUT

#: The configuration's own default builds another trunk.
TRUNK = {
    "architecture": "repvit_m1",
    "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}


class EdgeTamFamily(HuggingFaceFamily):
    """`EdgeTamVideoModel` with weights in transformers' format."""

    trunk = "repvit"
    adapter = EdgeTamModel
    input = OFFICIAL_INPUT

    def network_class(self) -> Any:
        """See `HuggingFaceFamily.network_class`."""
        return transformers().EdgeTamVideoModel

    def default_config(self) -> Any:
        """13.9 M parameters at 1024 pixels."""
        package = transformers()
        vision = package.EdgeTamVisionConfig(backbone_config=package.TimmWrapperConfig(**TRUNK))
        return package.EdgeTamVideoConfig(vision_config=vision)


FAMILY = EdgeTamFamily()
