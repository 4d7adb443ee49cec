"""Inpainting by latent diffusion (Rombach et al. 2022), with pipelines of `diffusers`."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tracker.errors import ModelError
from tracker.extras import check_extra, import_extra, quiet
from tracker.models.catalog import Task, find_model
from tracker.models.load import choose_device
from tracker.models.model_files import require_folder

PIPELINES = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")
STEPS = 30
SEED = 0
_EXTRA, _WHO = "inpaint", "remove:MODEL"
_LIBRARIES = {"diffusers", "transformers", "stable_diffusion", None}  # that parts are made of
_MOST_INDEX_BYTES = 1 << 20
_CONTEXT = 1.5  # of the longer side of a hole, at least, is what the model sees


def check_inpainting(name: str) -> None:
    """Check that a model is there, and what runs it, without loading either.

    Raises:
        UsageError: `diffusers` is not installed, or the name is unknown.
        ModelError: Its files are not here, or are no pipeline that fills pictures.
    """
    check_extra("diffusers", extra=_EXTRA, who=_WHO)
    check_extra("transformers", extra=_EXTRA, who=_WHO)
    _pipeline_class(_folder(name))


class DiffusionInpainter:
    """Inpainting model of latent diffusion, with no words to guide it and a seed that stays.

    Args:
        name: A name of the catalogue, or a folder as `save_pretrained` of a pipeline writes it.

    Raises:
        UsageError: `diffusers` is not installed, or the name is unknown.
        ModelError: The folder holds no pipeline that fills pictures, or it is damaged.
    """

    def __init__(self, name: str) -> None:
        folder = _folder(name)
        self._pipeline = _load(folder).to(choose_device("auto"))
        self._pipeline.set_progress_bar_config(disable=True)
        self._side = int(self._pipeline.unet.config.sample_size * self._pipeline.vae_scale_factor)
        self._name = folder.name

    def fill(
        self, image_hwc: NDArray[np.uint8], hole_hw: NDArray[np.uint8]
    ) -> NDArray[np.uint8] | None:
        """A picture filled where `hole_hw` is 1; None where the model's safety checker objects.

        The model sees the hole and what is around it, scaled to the size that it was trained for;
        outside of the hole the picture stays.

        Raises:
            ModelError: It fails, as where memory is short.
        """
        part = context(hole_hw, self._side)
        height, width = hole_hw[part].shape
        scale = self._side / max(height, width)
        multiple = self._pipeline.vae_scale_factor
        size_wh = tuple(max(1, round(one * scale / multiple)) * multiple for one in (width, height))
        touched_hw = cv2.resize(hole_hw[part] * 255, size_wh, interpolation=cv2.INTER_AREA) > 0
        drawn_hwc = self._drawn(_resized(image_hwc[part], size_wh), touched_hw)
        if drawn_hwc is None:
            return None
        filled_hwc = image_hwc.copy()
        here_hw = hole_hw[part] > 0
        filled_hwc[part][here_hw] = _resized(drawn_hwc, (width, height))[here_hw]
        return filled_hwc

    def _drawn(
        self, image_hwc: NDArray[np.uint8], hole_hw: NDArray[np.bool_]
    ) -> NDArray[np.uint8] | None:
        """What the model draws at its own size."""
        import torch

        height, width = hole_hw.shape
        try:
            output = self._pipeline(
                prompt="",
                image=Image.fromarray(image_hwc),
                mask_image=Image.fromarray(hole_hw.astype(np.uint8) * 255),
                height=height,
                width=width,
                guidance_scale=1.0,  # there are no words to follow
                num_inference_steps=STEPS,
                generator=torch.Generator().manual_seed(SEED),
                output_type="np",
            )
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelError(f"{_WHO}: {self._name} cannot fill a picture: {reason}") from error
        if any(getattr(output, "nsfw_content_detected", None) or ()):
            return None
        return np.asarray(np.rint(output.images[0] * 255), np.uint8)


def context(hole_hw: NDArray[np.uint8], side: int) -> tuple[slice, slice]:
    """Rows and columns around a hole: half as much again, and `side` pixels where there are."""
    spans = []
    extents = [np.flatnonzero(hole_hw.any(axis=axis)) for axis in (1, 0)]
    wanted = max(side, *(round(_CONTEXT * (one[-1] + 1 - one[0])) for one in extents))
    for extent, size in zip(extents, hole_hw.shape, strict=True):
        length = min(wanted, size)
        start = int(extent[0] + extent[-1] + 1 - length) // 2
        start = min(max(0, start), size - length)
        spans.append(slice(start, start + length))
    return spans[0], spans[1]


def _resized(image: NDArray[np.uint8], size_wh: tuple[int, ...]) -> NDArray[np.uint8]:
    if image.shape[1::-1] == size_wh:
        return image
    smaller = size_wh[0] * size_wh[1] < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size_wh, interpolation=how), np.uint8)


def _folder(name: str) -> Path:
    path = Path(name)
    return path if path.is_dir() else require_folder(find_model(name, Task.INPAINT))


def _load(folder: Path) -> Any:
    """A pipeline in float32: nothing is fetched, no code of the folder is run, no pickle read."""
    kind = _pipeline_class(folder)
    diffusers = import_extra("diffusers", extra=_EXTRA, who=_WHO)
    transformers = import_extra("transformers", extra=_EXTRA, who=_WHO)
    import torch

    with quiet(diffusers), quiet(transformers):
        try:
            return getattr(diffusers, kind).from_pretrained(
                folder,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                dtype=torch.float32,
            )
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ModelError(
                f"{folder} cannot be loaded as {kind}: {reason}",
                "give a folder as save_pretrained writes it, with safetensors",
            ) from error


def _pipeline_class(folder: Path) -> str:
    """Class of the pipeline in a folder, all of whose parts are of known packages."""
    path = folder / "model_index.json"
    hint = f"give a folder of {' or '.join(PIPELINES)}"
    try:
        if path.stat().st_size > _MOST_INDEX_BYTES:
            raise ValueError(f"it has more than {_MOST_INDEX_BYTES} bytes")
        index = json.loads(path.read_bytes())
        kind = index["_class_name"]
        libraries = {part[0] for part in index.values() if isinstance(part, list)}
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no pipeline: it has no {path.name}", hint) from error
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read: {error}", hint) from error
    if kind not in PIPELINES:
        raise ModelError(f"{folder} holds a {kind}, which is not run here", hint)
    own_code = next(folder.rglob("*.py"), None)
    if own_code is not None or not libraries <= _LIBRARIES:
        raise ModelError(f"{folder} brings code of its own, which is not run", hint)
    return str(kind)
