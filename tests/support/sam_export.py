"""A small SAM of `transformers` as the ONNX pair of SAM's own export (and of samexporter)."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Normalised, padded picture [1, 3, side, side] to embeddings."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder = network.vision_encoder

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)[0]


class Decoder(nn.Module):
    """Inputs and outputs of `segment_anything.utils.onnx.SamOnnxModel`.

    Points have labels 0 and 1, corners of a box 2 and 3, the point that stands for no box -1.
    """

    def __init__(self, network: Any, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
        orig_im_size: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        network = self.network
        prompts = network.prompt_encoder
        coords = (point_coords + 0.5) / self.side
        sparse = prompts.shared_embedding(coords[:, None], None)[:, 0]
        labels = point_labels[..., None]
        sparse = sparse * (labels != -1)
        sparse = sparse + prompts.not_a_point_embed.weight * (labels == -1)
        for index, embedding in enumerate(prompts.point_embed):
            sparse = sparse + embedding.weight * (labels == index)
        dense = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1) + 0 * mask_input.mean()
        dense = dense.expand_as(image_embeddings) + 0 * has_mask_input
        decoded = network.mask_decoder(
            image_embeddings=image_embeddings,
            image_positional_embeddings=network.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=sparse[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        low, ious = decoded[0][:, 0], decoded[1][:, 0]
        return low + 0 * orig_im_size.sum(), ious, low


def export(network: Any, folder: Path, side: int) -> Path:
    """Write `encoder.onnx` and `decoder.onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    more = {"dynamo": False, "opset_version": 17}
    picture = torch.zeros(1, 3, side, side)
    with torch.no_grad():
        encoder = Encoder(network).eval()
        embedding = encoder(picture)
        torch.onnx.export(encoder, (picture,), folder / "encoder.onnx", input_names=["x"], **more)
        inputs = {
            "image_embeddings": embedding,
            "point_coords": torch.rand(1, 3, 2) * side,
            "point_labels": torch.tensor([[1.0, 0.0, -1.0]]),
            "mask_input": torch.zeros(1, 1, side // 4, side // 4),
            "has_mask_input": torch.zeros(1),
            "orig_im_size": torch.tensor([90.0, 120.0]),
        }
        torch.onnx.export(
            Decoder(network, side).eval(),
            tuple(inputs.values()),
            folder / "decoder.onnx",
            input_names=list(inputs),
            output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes={"point_coords": {1: "points"}, "point_labels": {1: "points"}},
            **more,
        )
    return folder
