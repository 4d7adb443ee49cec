"""Function of a batch, replayed from graphs of a few batch sizes over static buffers.

The way of nano-vllm (`engine/model_runner.py`): a graph for each bucket of sizes, the largest
first, in one pool of memory; inputs are copied to the head of buffers that all graphs read, outputs
are copied from the head of buffers that all graphs write, since they outlast the next replay.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tracker.models.optim.graphs.capture import Capture, Work


@dataclass(frozen=True, slots=True)
class Row:
    """Shape of one item of a batch, and dtype."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, batch: Tensor) -> "Row":
        """That of the items of a batch."""
        return cls(tuple(batch.shape[1:]), batch.dtype)

    def zeros(self, size: int, device: torch.device) -> Tensor:
        """A batch of zeros, which may be written within inference mode and without."""
        with torch.inference_mode(mode=False):
            return torch.zeros((size, *self.shape), dtype=self.dtype, device=device)


class StaticFunction:
    """A function of tensors whose first dimension is that of a batch, as is that of its results.

    No item may depend on another: a batch that is smaller than its graph's is followed by items of
    batches before, whose results are not read.
    """

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], rows: Sequence[Row], device: torch.device
    ) -> None:
        """Of a function of as many tensors as there are rows."""
        self._function = function
        self._rows = tuple(rows)
        self._device = device
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._replays: dict[int, Work] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers."""
        return sum(buffer.nbytes for buffer in (*self._inputs, *self._outputs))

    def record(self, capture: Capture, size: int) -> tuple[Tensor, ...]:
        """Record the function for batches of up to `size` items; the largest size comes first.

        Returns:
            What each replay writes.
        """
        if not self._inputs:
            self._inputs = [row.zeros(size, self._device) for row in self._rows]
            made = self._function(*self._inputs)
            self._outputs = [Row.of(batch).zeros(size, self._device) for batch in made]
        inputs, outputs = _head(self._inputs, size), _head(self._outputs, size)
        assert len(outputs[0]) == size, "the largest size was not the first"

        def work() -> None:
            for held, computed in zip(outputs, self._function(*inputs), strict=True):
                held.copy_(computed)

        self._replays[size] = capture.record(work)
        return outputs

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...] | None:
        """Results for n items, in tensors of their own; None where no graph serves."""
        n = len(inputs[0])
        size = min((size for size in self._replays if size >= n), default=None)
        if size is None or tuple(map(Row.of, inputs)) != self._rows:
            return None
        for held, given in zip(_head(self._inputs, n), inputs, strict=True):
            held.copy_(given)
        self._replays[size]()
        return tuple(held.clone() for held in _head(self._outputs, n))


def _head(buffers: Sequence[Tensor], n: int) -> tuple[Tensor, ...]:
    return tuple(buffer[:n] for buffer in buffers)
