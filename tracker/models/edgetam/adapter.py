"""EdgeTAM as a `VideoModel`."""

from typing import Any

import torch
from torch import Tensor

from tracker.models.hugging_face.network import HuggingFaceModel


class EdgeTamModel(HuggingFaceModel):
    """An `EdgeTamVideoModel` that tracks.

    A memory is what a perceiver resampler (Jaegle et al., 2021) makes of a map: tokens that see all
    of it and have no place, then tokens that see a window of it each, and lie on a coarse grid.
    """

    def map_positions(self) -> Tensor:
        """Positions of a memory's tokens, [1, q, m]: zero without a place."""
        perceiver, device = self.module.spatial_perceiver, self._image_pos_1chw.device
        m, side = self.module.mem_dim, round(perceiver.num_latents_2d**0.5)
        shape = torch.Size((1, m, side, side))
        grid_1mhw = perceiver.positional_encoding(shape, device, torch.float32)
        nowhere_1qm = torch.zeros(1, perceiver.num_latents_1d, m, device=device)
        return torch.cat([nowhere_1qm, grid_1mhw.flatten(2).transpose(1, 2)], dim=1)

    def attention_options(self, *, maps: int) -> dict[str, Any]:
        """The number of maps, in each of which the tokens of the grid are rotated."""
        return {"num_spatial_memory_tokens": maps}

    def map_tokens(self, maps_nmhw: Tensor) -> Tensor:
        """Tokens [n, q, m] of maps, as the perceiver's `forward`, which takes one map at a time."""
        perceiver, (n, m, h, w) = self.module.spatial_perceiver, maps_nmhw.shape
        places_nqm = maps_nmhw.flatten(2).transpose(1, 2)
        pos_1qm = self.module.memory_encoder.position_encoding(
            maps_nmhw[:1].shape, maps_nmhw.device, maps_nmhw.dtype
        ).flatten(2).transpose(1, 2)  # fmt: skip
        side = round(perceiver.num_latents_2d**0.5)
        windows = maps_nmhw.reshape(n, m, side, h // side, side, w // side)
        windows_xpm = windows.permute(0, 2, 4, 3, 5, 1).reshape(n * side**2, -1, m)
        globals_nqm = perceiver.latents_1d.expand(n, -1, -1)
        locals_x1m = perceiver.latents_2d.repeat(n, 1).unsqueeze(1)
        for layer in perceiver.layers:
            globals_nqm = layer(globals_nqm, places_nqm, pos_1qm.expand(n, -1, -1))
            locals_x1m = layer(locals_x1m, windows_xpm, None)
        tokens_nqm = torch.cat([globals_nqm, locals_x1m.reshape(n, -1, m)], dim=1)
        normed_nqm: Tensor = perceiver.layer_norm(tokens_nqm)
        return normed_nqm
