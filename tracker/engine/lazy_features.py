"""A frame as the network sees it."""

from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tracker.models.sam2.verbs import Features

Encode = Callable[[NDArray[np.uint8]], Features]


class LazyFeatures:
    """A squashed picture until somebody asks for its features, then those.

    While nothing is tracked nobody asks, so an idle camera costs next to nothing; the picture takes
    less memory than the features too.
    """

    def __init__(self, small_hwc: NDArray[np.uint8], encode: Encode) -> None:
        self._held: Features | tuple[NDArray[np.uint8], Encode] = (small_hwc, encode)

    @classmethod
    def of(cls, features: Features) -> Self:
        """One whose features are known."""
        view = cls.__new__(cls)
        view._held = features
        return view

    @property
    def features(self) -> Features:
        """What the image encoder makes of it."""
        if isinstance(self._held, tuple):
            small_hwc, encode = self._held
            self._held = encode(small_hwc)
        return self._held

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._held[0].nbytes if isinstance(self._held, tuple) else self._held.nbytes
