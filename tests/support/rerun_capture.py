"""A stand-in for CUDA graphs on a CPU: it runs the work again where a graph would be replayed."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tracker.models.optim.graphs.capture import Work

#: Operators whose result the host needs, or whose input it gives: no graph can hold them.
OF_THE_HOST = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.lift_fresh.default,
}
INDEXING = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default}


class OnTheDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within it, what would make the host wait for a GPU raises; not in inference mode."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        masks = func in INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1])
        if func in OF_THE_HOST or masks:
            raise RuntimeError(f"{func} needs the host")
        return func(*args, **(kwargs or {}))


class RerunCapture:
    """A `Capture` that counts.

    Attributes:
        captures: Work recorded.
        replays: Times that some was run again.
    """

    def __init__(self) -> None:
        self.captures = 0
        self.replays = 0

    def record(self, work: Work) -> Callable[[], None]:
        self.captures += 1
        work()  # caches fill
        on_the_device = OnTheDevice()  # type: ignore[no-untyped-call]
        with torch.inference_mode(mode=False), torch.no_grad(), on_the_device:
            work()

        def replay() -> None:
            self.replays += 1
            work()

        return replay
