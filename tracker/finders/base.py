"""Interface of object finders, and the row that a finder has in the registry."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from tracker.errors import UsageError

BoxXyxy = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Proposal:
    """One object that a finder proposes on one picture.

    Attributes:
        box_xyxy: Edges in pixels of the picture.
        score: The finder's own confidence, 0..1; of masks the predicted IoU.
        label: Phrase or class that it was found by; None where there is none.
        mask_hw: bool [H, W] of the picture's size; None from a finder of boxes.
        stability: Stability score of the mask, 0..1; None where none was computed.
    """

    box_xyxy: BoxXyxy
    score: float
    label: str | None = None
    mask_hw: NDArray[np.bool_] | None = None
    stability: float | None = None

    @property
    def area_px(self) -> float:
        """Pixels of the mask, or of the box where there is none."""
        if self.mask_hw is not None:
            return float(np.count_nonzero(self.mask_hw))
        x0, y0, x1, y1 = self.box_xyxy
        return (x1 - x0) * (y1 - y0)


class Finder(Protocol):
    """Proposes objects on pictures."""

    def find(self, image_hwc: NDArray[np.uint8], phrases: Sequence[str], /) -> Sequence[Proposal]:
        """Proposals on an RGB uint8 picture [H, W, 3], in any order.

        Args:
            image_hwc: The picture; a finder with `every_frame` is given each of a video, in order.
            phrases: What to look for, as the row's `query` says.
        """


@runtime_checkable
class ChecksPhrases(Protocol):
    """A finder that knows before the first picture whether it can look for something."""

    def check_phrases(self, phrases: Sequence[str], /) -> None:
        """Raise `UsageError` where it cannot."""


@runtime_checkable
class NamesLabels(Protocol):
    """A finder whose labels are known before the first picture, as formats of files want them."""

    @property
    def labels(self) -> Sequence[str]:
        """All labels that it may give where it is asked for nothing."""


class Query(StrEnum):
    """What a finder is asked for: nothing, free phrases, or names of the classes that it knows."""

    NOTHING = "nothing"
    PHRASES = "phrases"
    CLASSES = "classes"


class Needs(StrEnum):
    """Origin of a finder: nothing, the device of the model that tracks, or the model itself."""

    NOTHING = "nothing"
    DEVICE = "device"
    MODEL = "model"


class FinderSettings(BaseModel):
    """Settings of a finder, each with a default; the names are what people type."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class FinderSpec:
    """Registry row of a finder.

    Attributes:
        name: As in `--finder NAME`.
        help: What it is, in a few words.
        make: Makes it from the `Model` that tracks and validated settings.
        settings: Their class.
        query: What it is asked for.
        every_frame: It learns from each frame of a video, so none may be left out.
        needs: What it uses of the model: `make` may be given None, or an object that has no more
            than the model's `device`.
        check: Raises `UsageError` where what these settings need is not installed; imports
            nothing large.
    """

    name: str
    help: str
    make: Callable[[Any, Any], Finder]
    settings: type[FinderSettings] = FinderSettings
    query: Query = Query.NOTHING
    every_frame: bool = False
    needs: Needs = Needs.MODEL
    check: Callable[[Any], None] = lambda settings: None

    def check_query(self, phrases: Sequence[str]) -> None:
        """Check that it is asked for what it takes.

        Raises:
            UsageError: It needs words and there are none, or the other way round.
        """
        if self.query is Query.PHRASES and not phrases:
            raise UsageError(
                f"finder {self.name} needs words", 'say what to find, as in "cat . car"'
            )
        if self.query is Query.NOTHING and phrases:
            raise UsageError(f"finder {self.name} takes no words", "use text or detector")

    def parse_settings(self, given: Mapping[str, object]) -> FinderSettings:
        """Settings from names and values, such as `{"points_per_side": "16"}`.

        Raises:
            UsageError: There is no such setting, or a value is out of its range.
        """
        try:
            return self.settings.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(part) for part in first["loc"]) or "settings"
            known = ", ".join(self.settings.model_fields) or "none"
            value = given.get(name, "")
            raise UsageError(
                f"finder {self.name}: {name}={value}: {first['msg']}", f"its settings: {known}"
            ) from error
