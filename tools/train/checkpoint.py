"""A run on disk: one safetensors file with all tensors, whose header holds the rest as JSON.

It is written beside the old one, synced and renamed, so that a crash leaves one of the two. What
is random follows from the seed and the step number, so no generator has a state to keep.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from tools.train.learner import Weights
from tracker.errors import OutputError, TrackdError

HEADER = "train"
PARTS = ("network", "average", "moments")


class Standing(BaseModel):
    """Progress of a run.

    Attributes:
        model: Name of the model.
        step: Optimizer steps done.
        size: Side of the input at the last step, pixels.
        seconds: Time spent, over all invocations.
        best_score: Best mean of the held-out scores, None before the first.
        best_step: When that was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    step: int = 0
    size: int
    seconds: float = 0.0
    best_score: float | None = None
    best_step: int | None = None


def save_run(path: Path, weights: Weights, standing: Standing) -> None:
    """Write a run.

    Raises:
        OutputError: It cannot be written; what was at `path` is still there.
    """
    parts = (weights.network, weights.average, weights.moments)
    tensors = {
        f"{part}.{name}": tensor
        for part, held in zip(PARTS, parts, strict=True)
        for name, tensor in held.items()
    }
    save_tensors(path, tensors, standing)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], standing: Standing) -> None:
    """Write tensors with a standing.

    Raises:
        OutputError: They cannot be written; what was at `path` is still there.
    """
    content = safetensors_bytes(dict(tensors), metadata={HEADER: standing.model_dump_json()})
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as err:
        raise OutputError(f"cannot write {path}: {err.strerror}", "make room, then resume") from err


def load_run(path: Path) -> tuple[Weights, Standing]:
    """Read what `save_run` wrote.

    Raises:
        TrackdError: It is missing or damaged.
    """
    tensors, standing = load_tensors(path)
    held: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for key, tensor in tensors.items():
        part, _, name = key.partition(".")
        if part not in held:
            raise TrackdError(f"{path} is damaged: it holds {key}", "begin a new run")
        held[part][name] = tensor
    return Weights(held["network"], held["average"], held["moments"]), standing


def load_tensors(path: Path) -> tuple[dict[str, Tensor], Standing]:
    """Read what `save_tensors` wrote.

    Raises:
        TrackdError: It is missing or damaged.
    """
    if not path.is_file():
        raise TrackdError(f"there is no {path}", "train first")
    try:
        with safe_open(path, framework="pt") as file:
            standing = Standing.model_validate_json((file.metadata() or {}).get(HEADER, ""))
            return {name: file.get_tensor(name) for name in file.keys()}, standing  # noqa: SIM118
    except (SafetensorError, ValidationError, OSError) as err:
        raise TrackdError(f"{path} is damaged or no checkpoint", "begin a new run") from err
