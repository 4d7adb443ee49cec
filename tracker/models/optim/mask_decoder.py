"""SAM 2's mask decoder as few large matrix products over tokens.

Follows `sam2.modeling.sam.mask_decoder.MaskDecoder` and `TwoWayTransformer`, whose weights it
uses. What differs, up to rounding:
- all is computed in one dtype, where autocast mixes two and pays for each conversion;
- the positions of the image's tokens enter as their products with weights, which are the same for
  all objects and frames, so that each layer takes one product of the image instead of three;
- a transposed convolution of size 2 and stride 2 is a product of its own for each token: the four
  pixels that it makes stay side by side in memory, and only finished masks are put in order.

Shapes: n objects, t tokens of output and prompt, q = h * w tokens of the image, c channels, i
channels inside an attention, a masks.
"""

import torch
import torch.nn.functional as F
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import Attention, TwoWayAttentionBlock
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from tracker.models.optim.dtype_cache import DerivedCache, compute_dtype, in_dtype


class TokenMaskDecoder(MaskDecoder):  # type: ignore[misc]
    """`MaskDecoder` in eval mode, of a network with high-resolution features or without."""

    def __init__(self, original: MaskDecoder, fine_prompts: nn.Conv2d | None = None) -> None:
        """Take over an original.

        Args:
            original: In eval mode.
            fine_prompts: A 1x1 convolution of masks that are added to the finest features.
        """
        nn.Module.__init__(self)
        self.__dict__.update(original.__dict__)  # the same modules, weights and settings
        self.fine_prompts = fine_prompts
        self._decoders: DerivedCache[_OneDtypeDecoder] = DerivedCache()

    def predict_masks(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        repeat_image: bool,
        high_res_features: list[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Masks [n, a, 4h, 4w], their qualities [n, a], tokens [n, a, c] and presences [n, 1].

        The high-resolution features, if any, are those of the one image, with a first dimension of
        1; after them may come masks [n, 1, 4h, 4w] for `fine_prompts`.
        """
        assert not repeat_image
        dtype = compute_dtype(image_embeddings)
        with torch.autocast(image_embeddings.device.type, enabled=False):
            return self._decoder(dtype, image_embeddings.device).run(
                _tokens(image_embeddings.to(dtype)) + _narrow(dense_prompt_embeddings).to(dtype),
                image_pe,
                sparse_prompt_embeddings.to(dtype),
                *(level.to(dtype) for level in high_res_features or ()),
            )

    def _decoder(self, dtype: torch.dtype, device: torch.device) -> "_OneDtypeDecoder":
        if (dtype, device) not in self._decoders:
            self._decoders[dtype, device] = _OneDtypeDecoder(in_dtype(self, dtype))
        return self._decoders[dtype, device]


def use_token_mask_decoder(network: SAM2Base) -> None:
    """Replace the mask decoder of a network in eval mode, in place."""
    fine_prompts = getattr(network, "fine_prompts", None)
    network.sam_mask_decoder = TokenMaskDecoder(network.sam_mask_decoder, fine_prompts)


class _OneDtypeDecoder:
    """The decoder's weights in one dtype, those of products over the image side by side."""

    def __init__(self, decoder: MaskDecoder) -> None:
        self._decoder = decoder
        transformer = decoder.transformer
        self._last = transformer.final_attn_token_to_image
        self._blocks = [_Block(layer) for layer in transformer.layers]
        self._last_kv = _SideBySide([self._last.k_proj], [self._last.v_proj])
        self._last_norm = transformer.norm_final_attn
        first, self._norm, _, second, _ = decoder.output_upscaling
        self._doublings = (_Doubling(first), _Doubling(second, decoder.fine_prompts))
        self._outputs_tc = torch.cat(_output_tokens(decoder))
        self._hyper = _stacked(decoder.output_hypernetworks_mlps)

    def run(
        self,
        image_nqc: Tensor,
        image_pe_1chw: Tensor,
        prompts_ntc: Tensor,
        fine_1dhw: Tensor | None = None,
        middle_1dhw: Tensor | None = None,
        mask_prompt_n1hw: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `TokenMaskDecoder.predict_masks`."""
        n, (h, w) = len(image_nqc), image_pe_1chw.shape[-2:]
        outputs_ntc = self._outputs_tc.expand(n, -1, -1)
        tokens_ntc, image_nqc = self._both_ways(
            torch.cat([outputs_ntc, prompts_ntc], dim=1), image_nqc, _tokens(image_pe_1chw)
        )
        first = int(self._decoder.pred_obj_scores)
        masks_nac = tokens_ntc[:, first + 1 :][:, : self._decoder.num_mask_tokens]
        pixels_npd = self._upscaled(image_nqc, fine_1dhw, middle_1dhw, mask_prompt_n1hw)
        nested_nap = torch.bmm(self._weights_of_masks(masks_nac), pixels_npd.transpose(1, 2))
        iou_na = self._decoder.iou_prediction_head(tokens_ntc[:, first])
        presence_n1 = iou_na.new_full((n, 1), 10.0)  # as sam2's: there, as far as is known
        if self._decoder.pred_obj_scores:
            presence_n1 = self._decoder.pred_obj_score_head(tokens_ntc[:, 0])
        return _in_order(nested_nap, h, w), iou_na, masks_nac, presence_n1

    def _both_ways(
        self, tokens_ntc: Tensor, image_nqc: Tensor, pos_1qc: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens and image after they have attended to each other."""
        initial_ntc = tokens_ntc
        for block in self._blocks:
            tokens_ntc, image_nqc = block.run(tokens_ntc, initial_ntc, image_nqc, pos_1qc)
        k, v = self._last_kv.of(image_nqc, pos_1qc)
        found_ntc = _attend_to_image(self._last, tokens_ntc + initial_ntc, k, v)
        return self._last_norm(tokens_ntc + found_ntc), image_nqc

    def _upscaled(
        self,
        image_nqc: Tensor,
        fine_1dhw: Tensor | None,
        middle_1dhw: Tensor | None,
        mask_prompt_n1hw: Tensor | None,
    ) -> Tensor:
        """Features of the pixels of a mask [n, 16q, c / 8], nested: see `_in_order`."""
        n = image_nqc.shape[0]
        first, second = self._doublings
        middle_1qo = None if middle_1dhw is None else _nested(middle_1dhw, 1)
        fine_1qo = None if fine_1dhw is None else _nested(fine_1dhw, 2)
        pixels = first.onto(middle_1qo, image_nqc).reshape(n, -1, first.channels)
        norm = self._norm
        pixels = F.layer_norm(pixels, (first.channels,), norm.weight, norm.bias, norm.eps)
        mask_prompt_nq4 = None if mask_prompt_n1hw is None else _nested(mask_prompt_n1hw, 2)
        pixels = second.onto(fine_1qo, F.gelu(pixels), mask_prompt_nq4)
        return F.gelu(pixels).reshape(n, -1, second.channels)

    def _weights_of_masks(self, masks_nac: Tensor) -> Tensor:
        """Weights of the pixels' features by the hypernetwork of each mask, [n, a, c / 8]."""
        x_anc = masks_nac.transpose(0, 1)
        for number, (weight, bias) in enumerate(self._hyper):
            x_anc = torch.baddbmm(bias, F.relu(x_anc) if number else x_anc, weight)
        return x_anc.transpose(0, 1)


class _Block:
    """`TwoWayAttentionBlock`: among the tokens, from image to tokens, MLP, tokens to image."""

    def __init__(self, layer: TwoWayAttentionBlock) -> None:
        self._layer = layer
        self._to_image = layer.cross_attn_token_to_image
        self._to_tokens = layer.cross_attn_image_to_token
        self._image = _SideBySide(
            [self._to_image.k_proj, self._to_tokens.q_proj], [self._to_image.v_proj]
        )

    def run(
        self, tokens_ntc: Tensor, initial_ntc: Tensor, image_nqc: Tensor, pos_1qc: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens and image after the layer; `initial_ntc` are the tokens before the first."""
        layer = self._layer
        if layer.skip_first_layer_pe:
            tokens_ntc = layer.self_attn(tokens_ntc, tokens_ntc, tokens_ntc)
        else:
            placed = tokens_ntc + initial_ntc
            tokens_ntc = tokens_ntc + layer.self_attn(placed, placed, tokens_ntc)
        tokens_ntc = layer.norm1(tokens_ntc)
        k, q, v = self._image.of(image_nqc, pos_1qc)
        tokens_ntc = layer.norm2(
            tokens_ntc + _attend_to_image(self._to_image, tokens_ntc + initial_ntc, k, v)
        )
        tokens_ntc = layer.norm3(tokens_ntc + layer.mlp(tokens_ntc))
        image_nqc = _attend_to_tokens(
            self._to_tokens, image_nqc, q, tokens_ntc + initial_ntc, tokens_ntc
        )
        return tokens_ntc, layer.norm4(image_nqc)


class _SideBySide:
    """Projections of the image's tokens in one product, some of them of tokens with positions."""

    def __init__(self, placed: list[nn.Linear], plain: list[nn.Linear]) -> None:
        both = placed + plain
        self._sizes = [projection.out_features for projection in both]
        self._weight_co = torch.cat([projection.weight for projection in both]).t().contiguous()
        self._bias_o = torch.cat([projection.bias for projection in both])
        self._placed = sum(projection.out_features for projection in placed)
        self._base_1qo = self._bias_o[None, None, :0]

    def of(self, image_nqc: Tensor, pos_1qc: Tensor) -> tuple[Tensor, ...]:
        """Each projection, [n, q, i]. Positions are those of the image's size, always the same."""
        n, q, _ = image_nqc.shape
        if self._base_1qo.shape[1:] != (q, len(self._bias_o)):
            of_pos_1qo = pos_1qc.to(self._weight_co.dtype) @ self._weight_co
            of_pos_1qo[..., self._placed :] = 0
            self._base_1qo = of_pos_1qo + self._bias_o
        weight_nco = self._weight_co.expand(n, -1, -1)
        all_nqo = torch.baddbmm(self._base_1qo, image_nqc, weight_nco)
        return torch.split(all_nqo, self._sizes, dim=-1)


class _Doubling:
    """A transposed convolution of size 2 and stride 2 that makes four pixels of each token.

    A mask prompt, a number for each of the four pixels, goes into the same product.
    """

    def __init__(self, conv: nn.ConvTranspose2d, of_mask: nn.Conv2d | None = None) -> None:
        assert conv.kernel_size == conv.stride == (2, 2) and conv.bias is not None
        self.channels = conv.out_channels
        self._weight_co = conv.weight.permute(0, 2, 3, 1).flatten(1).contiguous()
        self._bias_o = conv.bias.repeat(4)
        if of_mask is not None:
            assert of_mask.bias is not None
            each_1o = of_mask.weight[:, 0, :, 0].t()
            each_44o = torch.diag_embed(each_1o.t().expand(-1, 4)).movedim(0, -1)
            self._weight_with_mask_co = torch.cat([self._weight_co, each_44o.flatten(1)])
            self._bias_with_mask_o = self._bias_o + of_mask.bias.repeat(4)

    def onto(
        self, features_1qo: Tensor | None, image_nqc: Tensor, mask_prompt_nq4: Tensor | None = None
    ) -> Tensor:
        """The pixels of each token [n, q, 4 * channels], added to the features of an image."""
        weight_co, bias_o = self._weight_co, self._bias_o
        if mask_prompt_nq4 is not None:
            image_nqc = torch.cat([image_nqc, mask_prompt_nq4], dim=-1)
            weight_co, bias_o = self._weight_with_mask_co, self._bias_with_mask_o
        base = bias_o if features_1qo is None else features_1qo + bias_o
        weight_nco = weight_co.expand(image_nqc.shape[0], -1, -1)
        return torch.baddbmm(base, image_nqc, weight_nco)


def _attend_to_image(
    attention: Attention, tokens_ntc: Tensor, k_nqi: Tensor, v_nqi: Tensor
) -> Tensor:
    """Attention of the tokens to the image, whose keys and values are projected already."""
    heads = attention.num_heads
    q, k, v = (
        _heads_apart(x, heads).transpose(1, 2) for x in (attention.q_proj(tokens_ntc), k_nqi, v_nqi)
    )
    out_nti = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    projected: Tensor = attention.out_proj(out_nti)
    return projected


def _attend_to_tokens(
    attention: Attention, image_nqc: Tensor, q_nqi: Tensor, placed_ntc: Tensor, tokens_ntc: Tensor
) -> Tensor:
    """The image after its attention to the tokens, whose queries are projected already.

    Few keys for many queries: one product serves all heads, with each key in the channels of its
    own head and zero elsewhere. Values pass through the output projection first, since they are
    fewer; its bias is spread over the heads, in each of which weights sum to one.
    """
    heads = attention.num_heads
    k = attention.k_proj(placed_ntc) * (attention.internal_dim // heads) ** -0.5
    scores = torch.bmm(_by_head(k, heads), q_nqi.transpose(1, 2))
    n, _, q = scores.shape
    weights = scores.view(n, heads, -1, q).softmax(2).flatten(1, 2)
    out = attention.out_proj
    v = F.linear(_by_head(attention.v_proj(tokens_ntc), heads), out.weight, out.bias / heads)
    return torch.baddbmm(image_nqc, weights.transpose(1, 2), v)


def _heads_apart(x_nti: Tensor, heads: int) -> Tensor:
    """[n, t, heads, i / heads]."""
    n, t, i = x_nti.shape
    return x_nti.reshape(n, t, heads, i // heads)


def _by_head(x_nti: Tensor, heads: int) -> Tensor:
    """[n, heads * t, i]: row h * t + j has token j in the channels of head h, else zero."""
    n, t, i = x_nti.shape
    apart = x_nti.new_zeros(n, heads, t, heads, i // heads)
    apart.diagonal(dim1=1, dim2=3).copy_(_heads_apart(x_nti, heads).transpose(2, 3))
    return apart.view(n, heads * t, i)


def _tokens(maps_nchw: Tensor) -> Tensor:
    return maps_nchw.flatten(2).transpose(1, 2)


def _narrow(maps_nchw: Tensor) -> Tensor:
    """Tokens of maps, or the one that all are, where no mask was given."""
    same_everywhere = maps_nchw.stride()[-2:] == (0, 0)
    return _tokens(maps_nchw[..., :1, :1] if same_everywhere else maps_nchw)


def _nested(maps_ndhw: Tensor, times: int) -> Tensor:
    """A map in the order in which so many doublings give its pixels, the last four in a row.

    Of [n, d, h * 2^times, w * 2^times]: [n, h * w * 4^(times - 1), 4 * d].
    """
    n, d, high, wide = maps_ndhw.shape
    x = maps_ndhw.permute(0, 2, 3, 1)
    x = x.reshape(n, high >> times, *[2] * times, wide >> times, *[2] * times, d)
    downs, acrosses = range(2, 2 + times), range(3 + times, 3 + 2 * times)
    halves = [axis for pair in zip(downs, acrosses, strict=True) for axis in pair]
    return x.permute(0, 1, 2 + times, *halves, x.ndim - 1).reshape(n, -1, 4 * d)


def _in_order(nested_nap: Tensor, h: int, w: int) -> Tensor:
    """Rows of pixels [n, a, 4h, 4w] of pixels in the order of their tokens [n, a, 16hw]."""
    n, a, _ = nested_nap.shape
    pair = {2: torch.int32, 4: torch.int64}[nested_nap.element_size()]  # neighbours move together
    x = nested_nap.view(pair).view(n, a, h, w, 2, 2, 2)  # y and x, halves down and across, down
    x = x.permute(0, 1, 2, 4, 6, 3, 5).reshape(n, a, 4 * h, 2 * w)
    return x.view(nested_nap.dtype)


def _output_tokens(decoder: MaskDecoder) -> list[Tensor]:
    tokens = [decoder.iou_token.weight, decoder.mask_tokens.weight]
    return [decoder.obj_score_token.weight, *tokens] if decoder.pred_obj_scores else tokens


def _stacked(mlps: nn.ModuleList) -> list[tuple[Tensor, Tensor]]:
    """Weights [a, in, out] and biases [a, 1, out] of each layer of MLPs of one shape."""
    layers = zip(*(mlp.layers for mlp in mlps), strict=True)
    return [
        (
            torch.stack([layer.weight.t() for layer in same]).contiguous(),
            torch.stack([layer.bias for layer in same])[:, None],
        )
        for same in layers
    ]
