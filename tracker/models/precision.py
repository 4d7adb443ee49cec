"""The precision of a network: float32, bfloat16 or 8-bit integers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch

from tracker.errors import UsageError

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS = ("auto", *get_args(Precision))


def choose_precision(wanted: str, device: torch.device, *, int8: bool = False) -> Precision:
    """Return the precision that a name means here.

    Args:
        wanted: "fp32"; "bf16", autocast over float32 weights; "int8", which is bf16 but for the
            image encoder; or "auto", which is int8 where the model allows it and the processor is
            good at it, else bf16 where the hardware computes in that, else fp32.
        device: Where the network will run.
        int8: Whether the model's image encoder may be quantized.

    Raises:
        UsageError: Another name, or a precision that is not to be had here.
    """
    if wanted not in PRECISIONS:
        raise UsageError(f"unknown dtype {wanted!r}", f"use {', '.join(PRECISIONS)}")
    if wanted == "fp32":
        return "fp32"
    has_bf16 = _has_bf16(device)
    has_int8 = int8 and has_bf16 and _has_int8(device)
    if wanted == "bf16" and device.type == "cuda" and not has_bf16:
        raise UsageError(f"{device} cannot compute in bf16", "use --dtype fp32")
    if wanted == "int8" and not has_int8:
        reason = f"{device} cannot compute in" if int8 else "this model's weights are not made for"
        raise UsageError(f"{reason} int8", "use --dtype auto")
    if has_int8 and wanted != "bf16":
        return "int8"
    return "bf16" if wanted == "bf16" or has_bf16 else "fp32"


def torch_dtype(precision: Precision) -> torch.dtype:
    """The dtype of a precision; bfloat16 is by autocast, and int8 is that but for the encoder."""
    return torch.float32 if precision == "fp32" else torch.bfloat16


@contextmanager
def inference_in(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Within the block the calling thread computes without gradients, in `Model.dtype`."""
    half = dtype == torch.bfloat16
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=half),
    ):
        yield


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probe = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return probe is not None and bool(probe())
    return False


def _has_int8(device: torch.device) -> bool:
    from tracker.models.optim.int8.conv import can_quantize

    return device.type == "cpu" and can_quantize()


def has_amx() -> bool:
    """True if the CPU multiplies matrices in tiles (Intel AMX), which oneDNN then uses."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return probe is not None and bool(probe())
