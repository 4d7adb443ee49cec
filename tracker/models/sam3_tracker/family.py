"""SAM 3's click tracker as a `Family`."""

from typing import Any

from tracker.models.hugging_face.checkpoint import transformers
from tracker.models.hugging_face.family import HuggingFaceFamily
from tracker.models.model import InputSpec
from tracker.models.sam3_tracker.adapter import Sam3TrackerModel


class Sam3TrackerFamily(HuggingFaceFamily):
    """`Sam3TrackerVideoModel`, with weights of its own or as part of all of SAM 3's."""

    trunk = "vit"
    adapter = Sam3TrackerModel
    input = InputSpec(1024, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize="pil")

    def network_class(self) -> Any:
        """See `HuggingFaceFamily.network_class`."""
        return transformers().Sam3TrackerVideoModel

    def default_config(self) -> Any:
        """465.8 M parameters at 1008 pixels."""
        return transformers().Sam3TrackerVideoConfig()


FAMILY = Sam3TrackerFamily()
