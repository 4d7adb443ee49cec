"""Catalogue of the models of others that segment, find and fill: licenses, sizes, where they lie.

The models that track are in `tracker.models.registry`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from tracker.errors import UnknownModelError


class Task(StrEnum):
    """What a model is for."""

    SEGMENT = "segment"
    TEXT = "find by words"
    DETECT = "find by class"
    INPAINT = "fill"


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A repository of the Hugging Face hub; of its files, configurations and safetensors.

    Attributes:
        repo: OWNER/NAME.
        left_out: Patterns of files that hold the same weights again.
    """

    repo: str
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WebFile:
    """A published file and the SHA-256 of its bytes, in hex."""

    name: str
    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class WebFiles:
    """Published files of one model."""

    files: tuple[WebFile, ...]


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Files that users bring: their names in the model's folder, and how they are made."""

    names: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """One model.

    Attributes:
        name: What people type.
        task: What it is for.
        files: Where its files come from.
        code_license, weights_license: SPDX identifiers.
        parameters_m: Millions of parameters, as published.
        extra: The extra of trackd that runs it.
        note: What else to know about its license; "" where nothing is.
    """

    name: str
    task: Task
    files: HubFiles | WebFiles | OwnFiles
    code_license: str
    weights_license: str
    parameters_m: float
    extra: str
    note: str = ""


_EFFICIENT_SAM = "https://github.com/labelmeai/efficient-sam/releases/download/onnx-models-20231225"


def _hub(
    name: str, task: Task, repo: str, parameters_m: float, extra: str = "transformers"
) -> CatalogModel:
    return CatalogModel(name, task, HubFiles(repo), "Apache-2.0", "Apache-2.0", parameters_m, extra)


def _efficient_sam(
    name: str, size: str, encoder: str, decoder: str, parameters_m: float
) -> CatalogModel:
    files = tuple(
        WebFile(f"{part}.onnx", f"{_EFFICIENT_SAM}/efficient_sam_vit{size}_{part}.onnx", sha256)
        for part, sha256 in (("encoder", encoder), ("decoder", decoder))
    )
    return CatalogModel(
        name, Task.SEGMENT, WebFiles(files), "Apache-2.0", "Apache-2.0", parameters_m, "onnx"
    )


_OPENRAIL = "for any use but those that its license lists, which goes along with what it makes"
_MODELS = (
    _hub("sam-vit-base", Task.SEGMENT, "facebook/sam-vit-base", 94),
    _hub("sam-vit-large", Task.SEGMENT, "facebook/sam-vit-large", 312),
    _hub("sam-vit-huge", Task.SEGMENT, "facebook/sam-vit-huge", 641),
    _hub("sam-hq-vit-base", Task.SEGMENT, "syscv-community/sam-hq-vit-base", 95),
    _hub("sam-hq-vit-large", Task.SEGMENT, "syscv-community/sam-hq-vit-large", 314),
    _hub("sam-hq-vit-huge", Task.SEGMENT, "syscv-community/sam-hq-vit-huge", 643),
    _efficient_sam(
        "efficientsam-tiny",
        "t",
        "7a73ee65aa2c37237c89b4b18e73082f757ffb173899609c5d97a2bbd4ebb02d",
        "e1afe46232c3bfa3470a6a81c7d3181836a94ea89528aff4e0f2d2c611989efd",
        10,
    ),
    _efficient_sam(
        "efficientsam-small",
        "s",
        "4cacbb23c6903b1acf87f1d77ed806b840800c5fcd4ac8f650cbffed474b8896",
        "4727baf23dacfb51d4c16795b2ac382c403505556d0284e84c6ff3d4e8e36f22",
        26,
    ),
    CatalogModel(
        "mobilesam",
        Task.SEGMENT,
        OwnFiles(
            ("encoder.onnx", "decoder.onnx"),
            "export mobile_sam.pt with the samexporter package, in an environment of its own",
        ),
        "Apache-2.0",
        "Apache-2.0",
        10,
        "onnx",
    ),
    CatalogModel(
        "fastsam",
        Task.SEGMENT,
        OwnFiles(("model.onnx",), "export FastSAM-s or FastSAM-x as ONNX where you have it"),
        "AGPL-3.0-only",
        "AGPL-3.0-only",
        12,
        "onnx",
        "trackd uses none of its code: what is done with the network's outputs is its own",
    ),
    _hub("grounding-dino-tiny", Task.TEXT, "IDEA-Research/grounding-dino-tiny", 172, "text"),
    _hub("grounding-dino-base", Task.TEXT, "IDEA-Research/grounding-dino-base", 233, "text"),
    _hub(
        "mm-grounding-dino-tiny",
        Task.TEXT,
        "openmmlab-community/mm_grounding_dino_tiny_o365v1_goldg_v3det",
        173,
        "text",
    ),
    _hub("owlv2-base", Task.TEXT, "google/owlv2-base-patch16-ensemble", 155, "text"),
    _hub("owlv2-large", Task.TEXT, "google/owlv2-large-patch14-ensemble", 438, "text"),
    _hub("omdet-turbo", Task.TEXT, "omlab/omdet-turbo-swin-tiny-hf", 115, "text"),
    _hub("rt-detr-r18", Task.DETECT, "PekingU/rtdetr_v2_r18vd", 20),
    _hub("rt-detr-r50", Task.DETECT, "PekingU/rtdetr_v2_r50vd", 43),
    CatalogModel(
        "rf-detr-base",
        Task.DETECT,
        HubFiles("Roboflow/rf-detr-base"),
        "Apache-2.0",
        "Apache-2.0",
        29,
        "transformers",
        "Nano to Large are Apache-2.0; XLarge and 2XLarge are under another license, PML-1.0",
    ),
    _hub("detr-r50", Task.DETECT, "facebook/detr-resnet-50", 42),
    CatalogModel(
        "stable-diffusion-inpainting",
        Task.INPAINT,
        HubFiles(
            "stable-diffusion-v1-5/stable-diffusion-inpainting",
            ("*.fp16.safetensors", "sd-v1-5-inpainting.safetensors"),
        ),
        "Apache-2.0",
        "LicenseRef-CreativeML-OpenRAIL-M",
        1066,
        "inpaint",
        _OPENRAIL,
    ),
    CatalogModel(
        "stable-diffusion-xl-inpainting",
        Task.INPAINT,
        HubFiles("diffusers/stable-diffusion-xl-1.0-inpainting-0.1", ("*.fp16.safetensors",)),
        "Apache-2.0",
        "LicenseRef-CreativeML-OpenRAIL++-M",
        3469,
        "inpaint",
        _OPENRAIL,
    ),
)
CATALOG: Mapping[str, CatalogModel] = MappingProxyType({model.name: model for model in _MODELS})


def find_model(name: str, task: Task | None = None) -> CatalogModel:
    """The model of a name.

    Raises:
        UnknownModelError: There is none, or it is for another task.
    """
    known = {n: model for n, model in CATALOG.items() if task in (None, model.task)}
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    purpose = f" to {task}" if task else ""
    raise UnknownModelError(f"unknown model {name!r}{purpose}", f"{guess}known: {', '.join(known)}")
