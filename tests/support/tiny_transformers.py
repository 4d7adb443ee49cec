"""Models of `transformers` of a few thousand random weights, saved as real ones are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf

WORDS = ["red", "green", "car", "cat", "dog", "square", "person", "a"]
SIDE = 128  # longest of detectors' inputs


def _bert_tokenizer(folder: Path) -> hf.BertTokenizerFast:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return hf.BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)


def clip_tokenizer(folder: Path) -> hf.CLIPTokenizerFast:
    """Bytes as tokens, each also as the last of a word, and no merges."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: i for i, token in enumerate(tokens)}
    return hf.CLIPTokenizerFast(vocab=vocab, merges=[], model_max_length=16)


def _image_processor(name: str, **more: Any) -> Any:
    size = {"shortest_edge": SIDE, "longest_edge": SIDE}
    return getattr(hf, name)(**{"size": size, **more})


def _swin() -> hf.SwinConfig:
    return hf.SwinConfig(
        image_size=SIDE,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 2],
        window_size=2,
        out_indices=[2, 3, 4],
    )


def _dino_sizes() -> dict[str, Any]:
    return {
        "backbone_config": _swin(),
        "text_config": hf.BertConfig(
            vocab_size=15,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        ),
        "d_model": 32,
        "num_queries": 12,
        "encoder_layers": 1,
        "decoder_layers": 2,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 16,
        "decoder_ffn_dim": 16,
        "disable_custom_kernels": True,
        "max_text_len": 32,
    }


def grounding_dino(folder: Path) -> None:
    network = hf.GroundingDinoForObjectDetection(hf.GroundingDinoConfig(**_dino_sizes()))
    images = _image_processor("GroundingDinoImageProcessor")
    _save(folder, network, hf.GroundingDinoProcessor(images, _bert_tokenizer(folder)))


def mm_grounding_dino(folder: Path) -> None:
    network = hf.MMGroundingDinoForObjectDetection(hf.MMGroundingDinoConfig(**_dino_sizes()))
    images = _image_processor("GroundingDinoImageProcessor")
    _save(folder, network, hf.GroundingDinoProcessor(images, _bert_tokenizer(folder)))


def owlv2(folder: Path) -> None:
    tower = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = {**tower, "vocab_size": 514, "max_position_embeddings": 16}
    text |= {"bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 0}
    vision = {**tower, "image_size": SIDE, "patch_size": 32}
    config = hf.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    images = _image_processor("Owlv2ImageProcessor", size={"height": SIDE, "width": SIDE})
    processor = hf.Owlv2Processor(images, clip_tokenizer(folder))
    _save(folder, hf.Owlv2ForObjectDetection(config), processor)


def omdet_turbo(folder: Path) -> None:
    text = hf.CLIPTextConfig(
        vocab_size=514,
        hidden_size=32,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=0,
    )
    config = hf.OmDetTurboConfig(
        text_config=text,
        backbone_config=_swin(),
        image_size=SIDE,
        apply_layernorm_after_vision_backbone=False,
        text_projection_in_dim=32,
        text_projection_out_dim=32,
        task_encoder_hidden_dim=32,
        class_embed_dim=32,
        num_queries=12,
        encoder_hidden_dim=16,
        vision_features_channels=[16, 16, 16],
        encoder_in_channels=[16, 32, 64],
        encoder_attention_heads=2,
        encoder_dim_feedforward=16,
        decoder_hidden_dim=16,
        decoder_num_heads=2,
        decoder_num_layers=2,
        decoder_dim_feedforward=16,
        disable_custom_kernels=True,
    )
    images = _image_processor(
        "DetrImageProcessor", size={"height": SIDE, "width": SIDE}, do_pad=False
    )
    processor = hf.OmDetTurboProcessor(images, clip_tokenizer(folder))
    _save(folder, hf.OmDetTurboForObjectDetection(config), processor)


def yolos(folder: Path) -> None:
    config = hf.YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[SIDE, SIDE],
        num_detection_tokens=12,
        id2label={0: "person", 1: "dog", 2: "car"},
        label2id={"person": 0, "dog": 1, "car": 2},
    )
    _save(folder, hf.YolosForObjectDetection(config), _image_processor("YolosImageProcessor"))


def _sam_sizes(vision: type, prompts: type, decoder: type, **more: Any) -> dict[str, Any]:
    return {
        "vision_config": vision(
            hidden_size=32,
            output_channels=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=128,
            window_size=4,
            global_attn_indexes=[1],
            num_pos_feats=16,
            mlp_dim=32,
            initializer_range=0.02,
        ),
        "prompt_encoder_config": prompts(hidden_size=32, image_size=128),
        "mask_decoder_config": decoder(
            hidden_size=32, mlp_dim=32, num_attention_heads=2, iou_head_hidden_dim=32, **more
        ),
    }


def sam(folder: Path) -> None:
    sizes = _sam_sizes(hf.SamVisionConfig, hf.SamPromptEncoderConfig, hf.SamMaskDecoderConfig)
    network = hf.SamModel(hf.SamConfig(**sizes))
    images = hf.SamImageProcessor(
        size={"longest_edge": 128}, pad_size={"height": 128, "width": 128}
    )
    _save(folder, network, hf.SamProcessor(images))


def sam_hq(folder: Path) -> None:
    sizes = _sam_sizes(
        hf.SamHQVisionConfig, hf.SamHQPromptEncoderConfig, hf.SamHQMaskDecoderConfig, vit_dim=32
    )
    network = hf.SamHQModel(hf.SamHQConfig(**sizes))
    images = hf.SamImageProcessor(
        size={"longest_edge": 128}, pad_size={"height": 128, "width": 128}
    )
    _save(folder, network, hf.SamHQProcessor(images))


def make(build: Callable[[Path], None], folder: Path, seed: int = 0) -> Path:
    """Save the model of `build` in a folder, weights larger than at the start of training."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        build(folder)
    return folder


def _save(folder: Path, network: Any, processor: Any) -> None:
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"]
