"""Paths of weights files on this machine."""

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tracker.errors import ModelError
from tracker.models.registry import REGISTRY, ModelSpec

#: Weights in a folder that transformers saves a model to.
FOLDER_WEIGHTS = "model.safetensors"
_PACKAGED = Path(__file__).with_name("pico") / "weights"


class CheckpointState(StrEnum):
    """True if a model's weights are on this machine."""

    EMBEDDED = "embedded"
    PRESENT = "present"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights file of one model; `size_bytes` is None where it is missing."""

    spec: ModelSpec
    path: Path
    state: CheckpointState
    size_bytes: int | None


def models_dir() -> Path:
    """Return the directory of downloaded weights, which need not exist.

    It is $TRACKD_MODELS_DIR, else trackd/models in $XDG_DATA_HOME or in ~/.local/share.
    """
    override = os.environ.get("TRACKD_MODELS_DIR")
    if override:
        return Path(override).expanduser()
    data_home = Path(os.environ.get("XDG_DATA_HOME", ""))
    if not data_home.is_absolute():
        data_home = Path.home() / ".local" / "share"
    return data_home / "trackd" / "models"


def checkpoint_path(spec: ModelSpec) -> Path:
    """Return where the weights of `spec` lie, or would lie once downloaded."""
    return (_PACKAGED if spec.embedded else models_dir()) / spec.filename


def weights_file(path: Path) -> Path:
    """The file of weights that a path names: itself, or the one in a folder of transformers'."""
    return path / FOLDER_WEIGHTS if path.is_dir() else path


def gated(spec: ModelSpec, path: Path) -> ModelError:
    """Refusal to find or fetch weights that a user must fetch, with the way to do so."""
    return ModelError(
        f"no weights of {spec.name} in {path}: they are given out only to who accepts "
        f"their license, {spec.license.spdx}",
        f"accept it at {spec.gated}, then save model.safetensors from there under that name, or "
        "give --checkpoint FILE",
    )


def list_checkpoints() -> tuple[Checkpoint, ...]:
    """Return the weights file of every model of the registry, in its order."""
    return tuple(_look(spec) for spec in REGISTRY.values())


def _look(spec: ModelSpec) -> Checkpoint:
    path = checkpoint_path(spec)
    if not path.is_file():
        return Checkpoint(spec, path, CheckpointState.MISSING, None)
    state = CheckpointState.EMBEDDED if spec.embedded else CheckpointState.PRESENT
    return Checkpoint(spec, path, state, path.stat().st_size)
