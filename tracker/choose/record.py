"""Record of the speeds measured on this machine."""

import platform
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streams.access.bounded_file import read_at_most
from tracker.atomic import write_atomically
from tracker.choose.measure import Measurement
from tracker.errors import ModelError, OutputError
from tracker.models.checkpoints import models_dir

MAX_RECORD_BYTES = 2**20
_MAX_MEASUREMENTS = 1000


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    machine: str
    measurements: list[Measurement] = Field(max_length=_MAX_MEASUREMENTS)


def record_path() -> Path:
    """Where the record lies: beside the downloaded weights."""
    return models_dir() / "speeds.json"


def read_measurements() -> list[Measurement]:
    """What was measured on this machine; nothing of another.

    Raises:
        ModelError: The record is damaged.
    """
    path = record_path()
    try:
        record = _Record.model_validate_json(read_at_most(path, MAX_RECORD_BYTES))
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        raise ModelError(f"{path} cannot be read", "delete it and measure again") from error
    return record.measurements if record.machine == _machine() else []


def keep_measurements(new: Iterable[Measurement]) -> None:
    """Add measurements; each takes the place of an older one.

    There is one for each model, kind of device and number of objects: the newest, whatever
    precision and threads it had, is what a choice goes by.

    Raises:
        ModelError: The record is damaged.
        OutputError: It cannot be written.
    """
    kept = {_key(item): item for item in (*read_measurements(), *new)}
    record = _Record(machine=_machine(), measurements=list(kept.values())[-_MAX_MEASUREMENTS:])
    path = record_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, record.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _key(item: Measurement) -> tuple[object, ...]:
    return item.name, item.device, item.objects


def _machine() -> str:
    return f"{platform.system()} {platform.machine()} {platform.node()}"
