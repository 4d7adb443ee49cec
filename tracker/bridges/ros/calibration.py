"""Calibration files of cameras, as `camera_calibration` of ROS writes them."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracker.errors import UsageError

_MAX_BYTES = 65_536
_HINT = "give a YAML file of camera_calibration"

_Number = Annotated[float, Field(allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=1, le=16384)]


class _Values(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Matrix9(_Values):
    data: Annotated[tuple[_Number, ...], Field(min_length=9, max_length=9)]


class _Matrix12(_Values):
    data: Annotated[tuple[_Number, ...], Field(min_length=12, max_length=12)]


class _Coefficients(_Values):
    data: Annotated[tuple[_Number, ...], Field(max_length=32)]


class Calibration(_Values):
    """Calibration of a camera, by the keys of the file; matrices by rows."""

    image_width: _Side
    image_height: _Side
    distortion_model: Annotated[str, Field(max_length=64)]
    distortion_coefficients: _Coefficients
    camera_matrix: _Matrix9
    rectification_matrix: _Matrix9
    projection_matrix: _Matrix12


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file.

    Raises:
        UsageError: It cannot be read, or is no calibration.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UsageError(f"{path} is too long for a calibration", _HINT)
        read: Any = yaml.safe_load(data)
        return Calibration.model_validate(read)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", _HINT) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path} is no YAML", _HINT) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(f"{path}: {place}: {first['msg']}", _HINT) from error
