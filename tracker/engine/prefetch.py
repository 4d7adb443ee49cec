"""Prefetching of image features: a second thread encodes the next picture meanwhile.

The features of an image depend on no object. Two threads with a work of their own each are
done sooner than both together with one work after the other, as they never wait for each other.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine.encode import encode
from tracker.models import Model
from tracker.models.base import Features
from tracker.models.preprocess import resize_to_square
from tracker.types import StageTimes

# Pictures that are encoded or about to be: the next step's, and the one's after it.
COMING = 2
# Times what the image encoder takes that the objects take, above which a picture is not encoded
# ahead. Measured with pico through the daemon on two processors, frames a second with it and
# without: 32.1 and 25.2 with two objects, 24.2 and 20.5 with four, 16.7 and 14.8 with eight, which
# take 2.1 times as long as the encoder; 8.7 and 10.4 with 16, at 3 times.
AHEAD_RATIO = 2.5
AHEAD_FRAMES = 16  # of late that count, as one alone may have been held up


#: To be called between the parts of the work: takes as many threads as are free by now.
Rebalance = Callable[[], None]


class Work(Protocol):
    """Work that a helper was given."""

    def result(self) -> None:
        """Wait for its end; raises what went wrong."""


class Helper(Protocol):
    """A second thread that computes beside whoever gives it work."""

    @property
    def busy(self) -> bool:
        """True if it is at work, or about to be."""

    @property
    def divides_threads(self) -> bool:
        """True if the threads that compute are divided while both are at work."""

    def submit(self, work: Callable[[], None], /) -> Work:
        """Let it do some work, after what it has; raises RuntimeError where it cannot."""

    def sharing_threads(self) -> AbstractContextManager[Rebalance]:
        """Within the block the calling thread leaves the helper its share of the threads."""


def can_prefetch(model: Model, helper: Helper) -> bool:
    """True if pictures can be encoded ahead, with the same result to the last bit.

    In float32 the sums of some products round by the number of threads, and what is tracked would
    depend on who was done when, unless both threads compute alone. bfloat16 products do not.
    """
    same = model.dtype == torch.bfloat16 or not helper.divides_threads
    return model.device.type == "cpu" and same


class Encoding:
    """A picture that is being encoded, or is.

    Attributes:
        encode_s: Seconds that encoding it took; known with the features.
        small_hwc: The picture resized to the network's square, likewise.
    """

    small_hwc: NDArray[np.uint8]

    def __init__(self, model: Model, image_hwc: NDArray[np.uint8], helper: Helper) -> None:
        """Begin to encode an image, which must not change meanwhile, RGB uint8 [H, W, 3].

        Raises:
            RuntimeError: The helper cannot.
        """
        self.encode_s = 0.0
        self._model = model
        self._image_hwc = image_hwc
        self._features: Features | None = None
        self._work = helper.submit(self._encode)

    def is_of(self, model: Model, image_hwc: NDArray[np.uint8]) -> bool:
        """True if it is this very image, encoded by this very model."""
        return self._model is model and self._image_hwc is image_hwc

    def features(self) -> Features:
        """Output of the image encoder; waits for it.

        Raises:
            Exception: What went wrong in the encoder.
        """
        self._work.result()
        assert self._features is not None
        return self._features

    def _encode(self) -> None:
        start = time.perf_counter()
        self.small_hwc = resize_to_square(self._image_hwc, self._model.input)
        self._features = encode(self._model, self.small_hwc)
        self.encode_s = time.perf_counter() - start


class Prefetcher:
    """Queue of the pictures of a session that are encoded ahead, and whether that pays."""

    def __init__(self) -> None:
        self._coming: deque[Encoding] = deque(maxlen=COMING)
        self._lately: deque[StageTimes] = deque(maxlen=AHEAD_FRAMES)

    def pays(self, model: Model, helper: Helper) -> bool:
        """True if the encoder's part of the frames of late is large enough."""
        encode_s = sum(times.encode_s for times in self._lately)
        track_s = sum(times.track_s for times in self._lately)
        return can_prefetch(model, helper) and track_s <= AHEAD_RATIO * encode_s

    def note(self, times: StageTimes) -> None:
        """Add what a frame with objects took."""
        self._lately.append(times)

    def begin(self, model: Model, image_hwc: NDArray[np.uint8], helper: Helper) -> None:
        """Begin to encode a picture; where no thread or memory is to be had, its step does it."""
        with suppress(RuntimeError, MemoryError):
            self._coming.append(Encoding(model, image_hwc, helper))

    def take(self, model: Model, image_hwc: NDArray[np.uint8]) -> Encoding | None:
        """The encoding of a picture that was begun ahead, if any; older ones are of no use."""
        for i, coming in enumerate(self._coming):
            if coming.is_of(model, image_hwc):
                for _ in range(i + 1):
                    self._coming.popleft()
                return coming
        return None

    def forget(self) -> None:
        """Let go of what was begun: the next picture has another size."""
        self._coming.clear()
