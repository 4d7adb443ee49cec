"""Networks of transformers from local files alone: safetensors and a configuration."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from tracker.errors import ModelError
from tracker.extras import import_extra, quiet
from tracker.models.state_dict import differences, read_state

MOST_CONFIG_BYTES = 1 << 20


def transformers() -> ModuleType:
    """The package, imported when a model first needs it.

    Raises:
        UsageError: It is not installed.
    """
    return import_extra("transformers", extra="transformers", who="this model")


def read_config(weights: Path, default: Any) -> Any:
    """The configuration in the folder of weights, else the default; of the default's class.

    One of another kind of model, as where the tracker's weights are part of a larger one's, leaves
    the default.

    Raises:
        ModelError: It is not such a configuration.
    """
    path = weights / "config.json"
    if not path.is_file():
        return default
    try:
        if path.stat().st_size > MOST_CONFIG_BYTES:
            raise ValueError(f"it has more than {MOST_CONFIG_BYTES} bytes")
        content = json.loads(path.read_bytes())
        if content["model_type"] != default.model_type:
            return default
        with quiet(transformers()):
            config = type(default).from_dict(content)
        _check_is_local(config)
        return config
    except Exception as err:  # transformers' own checks raise many kinds
        reason = str(err).partition("\n")[0]
        raise ModelError(
            f"{path} is not a configuration of {default.model_type}: {reason}",
            "use the config.json that came with the weights",
        ) from err


def _check_is_local(config: Any) -> None:
    """Refuse a trunk that timm would look for on a hub, as in "hf-hub:user/name"."""
    trunk = getattr(config.vision_config, "backbone_config", None)
    architecture = getattr(trunk, "architecture", "")
    if ":" in architecture:
        raise ValueError(f"its trunk {architecture!r} is not a name of timm's own")


def load_network(cls: Any, config: Any, weights: Path) -> nn.Module:
    """A network with its weights, float32 on the CPU; every name and shape must agree.

    Args:
        cls: A class of transformers, which knows by what other names its weights are saved.
        config: Its configuration.
        weights: A `.safetensors` file, or a folder with `model.safetensors`.

    Raises:
        ModelError: The weights are missing, damaged, or of another architecture.
    """
    state = read_state(weights)
    try:
        with quiet(transformers()):
            network, info = cls.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as err:  # a configuration that fits no network fails in any of its layers
        reason = str(err).partition("\n")[0]
        raise ModelError(f"transformers cannot load {weights}: {reason}") from err
    found = differences(
        missing=sorted(info["missing_keys"]),
        unexpected=sorted(info["unexpected_keys"]),
        shapes=[(key, given, wanted) for key, given, wanted in info["mismatched_keys"]],
    )
    if found:
        raise ModelError(
            f"{weights} does not fit the configuration {config.model_type}: {', '.join(found)}",
            "choose the --model that these weights belong to",
        )
    built: nn.Module = network
    return built
