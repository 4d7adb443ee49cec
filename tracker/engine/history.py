"""Frames that a session holds: what prompts are applied to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tracker.models.base import Features
from tracker.types import StageTimes

Encode = Callable[[NDArray[np.uint8]], Features]


class LazyFeatures:
    """A resized picture until somebody asks for its features, then those.

    While nothing is tracked nobody asks, so an idle camera costs next to nothing; the picture takes
    less memory than the features too.
    """

    def __init__(self, small_hwc: NDArray[np.uint8], encode: Encode) -> None:
        self._held: Features | tuple[NDArray[np.uint8], Encode] = (small_hwc, encode)

    @classmethod
    def of(cls, features: Features) -> Self:
        """One whose features are known."""
        lazy = cls.__new__(cls)
        lazy._held = features
        return lazy

    @property
    def features(self) -> Features:
        """Output of the image encoder, computed when first asked for."""
        if isinstance(self._held, tuple):
            small_hwc, encode = self._held
            self._held = encode(small_hwc)
        return self._held

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._held[0].nbytes if isinstance(self._held, tuple) else self._held.nbytes


@dataclass(frozen=True, slots=True)
class HistoryFrame:
    """A frame of the history.

    Attributes:
        step: Its number, by frames given to the session from 0.
        input_size: Side in pixels of the square that it was resized to.
        height: Of the source frame, pixels.
        width: Likewise.
        encoded: Its features, or the picture that they are made of.
        times: Seconds spent on it.
    """

    step: int
    input_size: int
    height: int
    width: int
    encoded: LazyFeatures
    times: StageTimes

    @property
    def features(self) -> Features:
        """Output of the image encoder, computed when first asked for."""
        return self.encoded.features
