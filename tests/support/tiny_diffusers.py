"""Inpainting pipelines of `diffusers` of a few thousand random weights, saved as real ones are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers as hf

from tests.support.tiny_transformers import clip_tokenizer

SIDE = 64  # of the pictures that they are made for
_WIDTHS = (8, 16)
_WORDS = 16  # width of the encoded text


def _text_config() -> hf.CLIPTextConfig:
    return hf.CLIPTextConfig(
        vocab_size=514,
        hidden_size=_WORDS,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=_WORDS,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=0,
    )


def _unet(**more: Any) -> diffusers.UNet2DConditionModel:
    return diffusers.UNet2DConditionModel(
        sample_size=SIDE // 2,
        in_channels=9,
        out_channels=4,
        block_out_channels=_WIDTHS,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        **more,
    )


def _vae() -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=list(_WIDTHS),
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
        norm_num_groups=4,
    )


def stable_diffusion(folder: Path) -> None:
    torch.manual_seed(0)
    diffusers.StableDiffusionInpaintPipeline(
        vae=_vae(),
        text_encoder=hf.CLIPTextModel(_text_config()),
        tokenizer=clip_tokenizer(folder),
        unet=_unet(cross_attention_dim=_WORDS, attention_head_dim=4),
        scheduler=diffusers.DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def stable_diffusion_xl(folder: Path) -> None:
    torch.manual_seed(0)
    diffusers.StableDiffusionXLInpaintPipeline(
        vae=_vae(),
        text_encoder=hf.CLIPTextModel(_text_config()),
        text_encoder_2=hf.CLIPTextModelWithProjection(_text_config()),
        tokenizer=clip_tokenizer(folder),
        tokenizer_2=clip_tokenizer(folder),
        unet=_unet(
            cross_attention_dim=2 * _WORDS,
            attention_head_dim=4,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + _WORDS,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
    ).save_pretrained(folder)


MAKERS: tuple[Callable[[Path], None], ...] = (stable_diffusion, stable_diffusion_xl)
