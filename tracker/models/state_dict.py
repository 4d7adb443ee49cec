"""Weights files: read without running anything they hold, and load strictly."""

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from tracker.errors import ModelError
from tracker.models.checkpoints import FOLDER_WEIGHTS

_SHOWN_KEYS = 3


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a `.safetensors` file, or of an official `.pt` on the CPU.

    Of a folder that transformers saved, its `model.safetensors` is read.

    Raises:
        ModelError: The file is missing, unreadable or damaged, or holds anything but tensors.
    """
    if (path / FOLDER_WEIGHTS).is_file():
        path = path / FOLDER_WEIGHTS
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise ModelError(f"the checkpoint {path} {what}", "check the path")
    try:
        with path.open("rb"):
            pass
    except OSError as err:
        raise ModelError(f"cannot read the checkpoint {path}: {err.strerror}") from err
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _read_official(path)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as err:
        raise _damaged(path, str(err)) from err


def _read_official(path: Path) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            # Said of any damaged file; the error below says it better.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise _damaged(path, "its content is not plain tensors") from err
    except Exception as err:  # a damaged file fails in any layer of the reader
        raise _damaged(path, f"torch cannot read it ({type(err).__name__})") from err
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise _damaged(path, 'it has no "model" entry')
    if not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise _damaged(path, 'its "model" entry is not a table of tensors')
    return dict(state)


def _damaged(path: Path, reason: str) -> ModelError:
    return ModelError(
        f"{path} is damaged or is not a checkpoint: {reason}",
        "delete it and fetch it again, or give another --checkpoint",
    )


def load_strictly(
    network: torch.nn.Module, state: Mapping[str, torch.Tensor], *, path: Path, config: str
) -> None:
    """Copy `state` into `network`; every name and shape must agree, dtypes are converted.

    Args:
        network: The network to fill.
        state: Tensors by name.
        path: Where they were read, for the message.
        config: What `network` was built from, for the message.

    Raises:
        ModelError: Names or shapes differ; the message shows the first of each kind.
    """
    expected = network.state_dict()
    found = differences(
        missing=[key for key in expected if key not in state],
        unexpected=[key for key in state if key not in expected],
        shapes=[
            (key, state[key].shape, tensor.shape)
            for key, tensor in expected.items()
            if key in state and state[key].shape != tensor.shape
        ],
    )
    if found:
        raise ModelError(
            f"{path} does not fit the configuration {config}: {', '.join(found)}",
            "choose the --model that these weights belong to",
        )
    network.load_state_dict(state, strict=True)


def differences(
    *,
    missing: Sequence[str],
    unexpected: Sequence[str],
    shapes: Sequence[tuple[str, Sequence[int], Sequence[int]]],
) -> list[str]:
    """Descriptions of how weights differ from a network, the first few of each kind.

    Args:
        missing: Names that the network has alone.
        unexpected: Names that the weights have alone.
        shapes: Name, given and expected shape where these differ.
    """
    found = []
    for what, keys in (("missing", missing), ("unexpected", unexpected)):
        if keys:
            more = f" and {len(keys) - _SHOWN_KEYS} more" if len(keys) > _SHOWN_KEYS else ""
            found.append(f"{what} {' '.join(keys[:_SHOWN_KEYS])}{more}")
    found += [f"{key} is {list(got)} instead of {list(want)}" for key, got, want in shapes[:1]]
    return found
