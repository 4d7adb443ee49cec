"""Limits of a machine, measured: large matrix products and large copies."""

import time
from collections.abc import Callable

import torch

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPIED_BYTES = {"cpu": 256 * 2**20, "cuda": 2**30}
_TRIES = 6


def matmul_gflops(device: torch.device, dtype: torch.dtype, side: int | None = None) -> float:
    """Billions of multiplications and additions a second of square matrices, at best."""
    side = side or _SIDE.get(device.type, _SIDE["cpu"])
    a, b = ((16 * torch.randn(side, side, device=device)).to(dtype) for _ in range(2))
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    return 2 * side**3 / _least_s(lambda: multiply(a, b), device) / 1e9


def copy_gbs(device: torch.device, count: int | None = None) -> float:
    """Billions of bytes a second that a copy of `count` bytes reads and writes, at best."""
    count = count or _COPIED_BYTES.get(device.type, _COPIED_BYTES["cpu"])
    source = torch.ones(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / _least_s(lambda: target.copy_(source), device) / 1e9


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _least_s(work: Callable[[], object], device: torch.device) -> float:
    spent_s = []
    for _ in range(_TRIES):
        wait_for(device)
        start_s = time.perf_counter()
        work()
        wait_for(device)
        spent_s.append(time.perf_counter() - start_s)
    return min(spent_s)
