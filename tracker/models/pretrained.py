"""Models and processors of `transformers`, from a folder of files alone."""

from pathlib import Path
from typing import Any

import torch

from tracker.errors import ModelError
from tracker.extras import import_extra, quiet
from tracker.models.catalog import Task, find_model
from tracker.models.model_files import require_folder

_NAMED_KEYS = 3


def pretrained_folder(name: str, task: Task) -> tuple[Path, str]:
    """The folder of a model, and the extra that runs it.

    Args:
        name: A name of the catalogue, or a folder.
        task: What it is for.

    Raises:
        UnknownModelError: There is no such name, or it is for another task.
        ModelError: Its files are not here.
    """
    path = Path(name)
    if path.is_dir():
        return path, "transformers"
    model = find_model(name, task)
    import_extra("transformers", extra=model.extra, who=name)
    return require_folder(model), model.extra


def load_pretrained(
    auto_class: str, folder: Path, device: torch.device, *, extra: str = "transformers"
) -> tuple[Any, Any]:
    """A model in eval mode in float32, and its processor.

    Nothing is fetched, no code of the folder is run, and weights that are missing are an error.

    Args:
        auto_class: Class of `transformers`, such as "AutoModelForObjectDetection".
        folder: As `save_pretrained` writes it.
        device: Where the model is to run.
        extra: The extra that brings `transformers`, for the error.

    Raises:
        UsageError: `transformers` is not installed.
        ModelError: The folder holds no such model, or it is damaged.
    """
    transformers = import_extra("transformers", extra=extra, who=folder.name)
    alone = {"local_files_only": True, "trust_remote_code": False}
    with quiet(transformers):
        try:
            network, info = getattr(transformers, auto_class).from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **alone,
            )
            processor = transformers.AutoProcessor.from_pretrained(folder, **alone)
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise ModelError(
                f"{folder} cannot be loaded as {auto_class.removeprefix('AutoModelFor')}: {reason}",
                "give a folder with config.json, model.safetensors and the processor's files",
            ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        named = ", ".join(missing[:_NAMED_KEYS])
        raise ModelError(
            f"the weights in {folder} lack {len(missing)} tensors of their config: {named}",
            "use the files of one model",
        )
    network.eval().requires_grad_(False)
    return network.to(device), processor
