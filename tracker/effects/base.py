"""Interface of effects, and the row that an effect has in the registry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.frame import Frame
from tracker.types import ObjectResult


class Effect(Protocol):
    """Draws objects on pictures of one size."""

    def draw(
        self, image_hwc: NDArray[np.uint8], objects: Sequence[ObjectResult], /
    ) -> NDArray[np.uint8]:
        """A new RGB uint8 picture [H, W, 3]; `image_hwc` stays as it is.

        An object has its mask, its state and its scores; one that is not to be seen has no box.
        """


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame on its way through the effects.

    Attributes:
        frame: As it came from the source.
        image_hwc: As it is now, uint8 RGB [H, W, 3], or RGBA.
        objects: What was tracked on it.
        distances: Signed distance of each visible object's smoothed edge, by its id.
    """

    frame: Frame
    image_hwc: NDArray[np.uint8]
    objects: tuple[ObjectResult, ...]
    distances: Mapping[int, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all that it holds: pictures, masks and distances."""
        arrays: list[NDArray[Any]] = [self.frame.image, self.image_hwc]
        arrays += self.distances.values()
        arrays += (item.mask_hw for item in self.objects)
        return sum({id(array): array.nbytes for array in arrays}.values())

    @property
    def without_objects(self) -> "Shot":
        """The picture alone, for stages that hold it for long."""
        return replace(self, objects=(), distances={})


@dataclass(frozen=True, slots=True)
class Target:
    """Part of the picture that an effect is for.

    Attributes:
        ids: Objects by id; None for all.
        is_rest: Everything else than these objects.
    """

    ids: frozenset[int] | None = None
    is_rest: bool = False

    def has(self, object_id: int) -> bool:
        """Whether an object is one of them."""
        return self.ids is None or object_id in self.ids


@dataclass(frozen=True, slots=True)
class EffectRequest:
    """An effect that was asked for: `[TARGET=]NAME[:ARGUMENT]`.

    Attributes:
        argument: The text after the colon; "" for none.
        target: What it is for.
        fps: Frame rate of the source, for motion.
    """

    argument: str = ""
    target: Target = Target()
    fps: float = 30.0


class Stage(Protocol):
    """A step that shots go through in order; it may hold some back, to look ahead.

    It may also have `notes`, a tuple of lines about what it did, which the summary shows.
    """

    def push(self, shot: Shot) -> Iterator[Shot]:
        """Take one shot; give those that are finished."""

    def flush(self) -> Iterator[Shot]:
        """Give the rest; no more come."""


def _no_argument(argument: str) -> None:
    """An argument that needs no check."""


@dataclass(frozen=True, slots=True)
class EffectSpec:
    """Registry row of an effect.

    Attributes:
        name: As in `--effect NAME`.
        help: What it draws, in a few words.
        make: Makes it for pictures of a height and a width, in pixels; None for a stage.
        stage: Makes a step of its own, in place of `make`.
        argument: Stands for the argument in `--help`, as in "IMAGE"; "" where it takes none.
        needs_argument: It does nothing without.
        check: Raises `UsageError` where the argument is wrong.
        has_alpha: Its pictures are RGBA.
        is_last: It changes the size of the picture, so that no other comes after it.
        takes_rest: It can be for everything but the objects, `rest=NAME`.
    """

    name: str
    help: str
    make: Callable[[int, int], Effect] | None = None
    stage: Callable[[EffectRequest], Stage] | None = None
    argument: str = ""
    needs_argument: bool = False
    check: Callable[[str], None] = _no_argument
    has_alpha: bool = False
    is_last: bool = False
    takes_rest: bool = False
