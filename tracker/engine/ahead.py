"""Encodes a coming picture in a second thread, while the first one tracks the objects.

What an image is encoded to depends on no object. Two threads with a work of their own each are
done sooner than both together with one work after the other, as they never wait for each other.

torch's threads are shared by halves while both are at work. Whoever tracks has all again as soon
as the picture is encoded, which it finds out between the parts of its work (`sharing_threads`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from tracker.engine.encode import encode
from tracker.engine.network import Features
from tracker.engine.preprocess import squash
from tracker.models import Model


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

    In float32 they cannot: there the sums of some products round by the number of threads, and
    what is tracked would depend on who was done when. bfloat16 products do not.
    """
    on_cpu = model.device.type == "cpu" and model.dtype == torch.bfloat16
    return on_cpu and torch.get_num_threads() > 1


class Encoding:
    """A picture that is being encoded, or is.

    Attributes:
        encode_s: Seconds that encoding it took; known with the features.
    """

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
        self._features = encode(self._model, squash(self._image_hwc, self._model.input))
        self.encode_s = time.perf_counter() - start


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
