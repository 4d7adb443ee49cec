"""Capture of work on a GPU, to be replayed without launching each kernel from Python."""

from collections.abc import Callable
from typing import Protocol

import torch

Work = Callable[[], None]

#: Runs before a capture, in which libraries choose kernels and caches fill, as torch advises.
WARM_UPS = 3


class Capture(Protocol):
    """Recorder of work that reads and writes tensors which stay where they are."""

    def record(self, work: Work) -> Work:
        """Run some work and record it; what is returned does the same again, on the same tensors.

        Raises:
            RuntimeError: It cannot be recorded, as where it waits for the device.
        """


class CudaCapture:
    """CUDA graphs that share one pool of memory for what lies between inputs and outputs.

    They may overwrite each other's there, so only one is replayed at a time, and what is to outlast
    it must be written to tensors that were made before it was recorded.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Work) -> Work:
        """See `Capture.record`; the work is run on a side stream first."""
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS):
                    work()
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool):
                work()
        replay: Work = graph.replay
        return replay
