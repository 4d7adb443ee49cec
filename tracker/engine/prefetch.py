"""Encodes a coming picture in a second thread, while the first one tracks the objects.

What an image is encoded to depends on no object. Two threads with a work of their own each are
done sooner than both together with one work after the other, as they never wait for each other.

torch's threads are shared by halves while both are at work. Whoever tracks has all again as soon
as the picture is encoded, which it finds out between the parts of its work (`sharing_threads`).
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine.encode import encode
from tracker.engine.preprocess import resize_to_square
from tracker.models import Model
from tracker.models.sam2.verbs import Features
from tracker.types import StageTimes

# Pictures that are encoded or about to be: the next step's, and the one's after it.
COMING = 2
# Times what the image encoder takes that the objects take, above which a picture is not encoded
# ahead. Measured with pico through the daemon on two processors, frames a second with it and
# without: 32.1 and 25.2 with two objects, 24.2 and 20.5 with four, 16.7 and 14.8 with eight, which
# take 2.1 times as long as the encoder; 8.7 and 10.4 with 16, at 3 times.
AHEAD_RATIO = 2.5
AHEAD_FRAMES = 16  # of late that tell, as one alone may have been held up


class Work(Protocol):
    """What a helper was given to do."""

    def result(self) -> None:
        """Wait for its end; raises what went wrong."""


class Helper(Protocol):
    """A second thread, with half as many of torch's threads as whoever gives it work."""

    @property
    def busy(self) -> bool:
        """Whether it is at work, or about to be."""

    def submit(self, work: Callable[[], None], /) -> Work:
        """Let it do some work, after what it has; raises RuntimeError where it cannot."""


def encodes_ahead(model: Model) -> bool:
    """Whether pictures can be encoded ahead, with the same result to the last bit.

    In float32 the sums of some products round by the number of threads, and what is tracked would
    depend on who was done when, unless both threads compute alone. bfloat16 products do not.
    """
    any_number = model.dtype == torch.bfloat16 or torch.get_num_threads() == 1
    return model.device.type == "cpu" and any_number


class Encoding:
    """A picture that is being encoded, or is.

    Attributes:
        encode_s: Seconds that encoding it took; known with the features.
        small_hwc: The picture squashed, likewise.
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
        """Whether it is this very image, encoded by this very model."""
        return self._model is model and self._image_hwc is image_hwc

    def features(self) -> Features:
        """What the image encoder makes of it; waits for that.

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
    """The pictures of a session that are encoded ahead, and whether that pays."""

    def __init__(self) -> None:
        self._coming: deque[Encoding] = deque(maxlen=COMING)
        self._lately: deque[StageTimes] = deque(maxlen=AHEAD_FRAMES)

    def pays(self, model: Model) -> bool:
        """Whether the encoder's part of the frames of late is large enough."""
        encode_s = sum(times.encode_s for times in self._lately)
        track_s = sum(times.track_s for times in self._lately)
        return encodes_ahead(model) and track_s <= AHEAD_RATIO * encode_s

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


@contextmanager
def sharing_threads(helper: Helper | None) -> Iterator[Callable[[], None]]:
    """Within the block the calling thread leaves a helper its share of torch's threads.

    Yields:
        To be called between the parts of the work: takes as many threads as are free by now.
    """
    own = torch.get_num_threads()

    def settle() -> None:
        helped = helper is not None and helper.busy and own > 1
        threads = own - own // 2 if helped else own
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    settle()
    try:
        yield settle
    finally:
        if torch.get_num_threads() != own:
            torch.set_num_threads(own)
