"""The optimizations of a network in one table: what each is, when it applies, how it is applied.

Each leaves the masks as they are up to rounding, and can be switched off by its name.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tracker.errors import UsageError
from tracker.models.model import InputSpec
from tracker.models.optim.attention import use_plain_attention
from tracker.models.optim.dtype_cache import use_composed_projections, use_one_dtype
from tracker.models.optim.fused_conv import can_fuse, fuse_convolutions
from tracker.models.optim.fusion import fold_batch_norms, use_channel_norm, use_narrow_neck
from tracker.models.optim.int8.trunk import quantize
from tracker.models.optim.mask_decoder import use_token_mask_decoder
from tracker.models.optim.memory_encoder import use_fast_memory_encoder
from tracker.models.optim.reparameterize import reparameterize_trunk
from tracker.models.precision import Precision, torch_dtype

#: Names of optimizations that are switched off, separated by commas.
ENVIRONMENT = "TRACKD_WITHOUT"
#: The row that is applied by `load_model`, to a network on its device.
CUDA_GRAPHS = "cuda_graphs"


@dataclass(frozen=True, slots=True)
class Target:
    """The target of the optimizations: a device, a precision and the pictures of a model.

    Attributes:
        device_type: Of torch: "cpu", "cuda" or "mps".
        precision: What it computes in.
        input: The pictures that it expects.
        modules: The package whose modules the network is made of.
        trunk: Kind of the image trunk: Hiera, a plain ViT, RepViT, or other convolutions.
        high_res: The mask decoder takes features at strides 4 and 8 too.
        trunk_ranges: Ranges of the trunk's activations as calibrated, see `int8.trunk.quantize`;
            None where they were not.
        has_fused_conv: Torch has oneDNN's fused convolution, and the CPU has bf16 for it.
    """

    device_type: str
    precision: Precision
    input: InputSpec
    modules: Literal["sam2", "transformers", "other"] = "sam2"
    trunk: Literal["hiera", "vit", "repvit", "convolutional", "other"] = "hiera"
    high_res: bool = True
    trunk_ranges: tuple[tuple[float, float], ...] | None = None
    has_fused_conv: bool = field(default_factory=can_fuse)

    @property
    def on_cpu(self) -> bool:
        """True for the CPU."""
        return self.device_type == "cpu"

    @property
    def of_sam2(self) -> bool:
        """True for a network of the sam2 package's modules."""
        return self.modules == "sam2"


@dataclass(frozen=True, slots=True)
class Optimization:
    """A row of the table.

    Attributes:
        name: By which it is switched off.
        what: What it does, in the field's terms.
        when: The condition in words, what is tested for each tensor included.
        applies: The condition.
        apply: Rewrites a network in eval mode that is not trained, on the CPU, in place; nothing to
            do for `CUDA_GRAPHS`.
        needs: Names of earlier rows without which it does not apply.
    """

    name: str
    what: str
    when: str
    applies: Callable[[Target], bool]
    apply: Callable[[Any, Target], None]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The state of an optimization for a target, and the reason."""

    optimization: Optimization
    on: bool
    why: str


_SAM2 = "with modules of the sam2 package"


def _of_sam2(target: Target) -> bool:
    return target.of_sam2


def _channels_last(network: Any, target: Target) -> None:
    encoder = network.image_encoder if target.of_sam2 else network.vision_encoder.backbone
    encoder.to(memory_format=torch.channels_last)


def _quantize(network: Any, target: Target) -> None:
    assert target.trunk_ranges is not None
    quantize(network.image_encoder, target.input, target.trunk_ranges)


#: In the order in which they are applied.
PLAN: tuple[Optimization, ...] = (
    Optimization(
        "narrow_neck",
        "FPN laterals at strides 4 and 8 composed with the mask decoder's projections of them",
        f"{_SAM2} and features at strides 4 and 8",
        lambda target: target.of_sam2 and target.high_res,
        lambda network, _: use_narrow_neck(network),
    ),
    Optimization(
        "mask_decoder",
        "mask decoder as few large matrix products over tokens, in one dtype",
        _SAM2,
        _of_sam2,
        lambda network, _: use_token_mask_decoder(network),
    ),
    Optimization(
        "plain_attention",
        "attention as two matrix products instead of the fused kernel (FlashAttention)",
        f"on a CPU in bf16 or int8, for each tensor in bf16, {_SAM2}",
        lambda target: target.of_sam2 and target.on_cpu and target.precision != "fp32",
        lambda network, _: use_plain_attention(network),
    ),
    Optimization(
        "one_dtype",
        "memory attention in one dtype, without the conversions of autocast",
        _SAM2,
        _of_sam2,
        lambda network, _: use_one_dtype(network),
    ),
    Optimization(
        "composed_projections",
        "value and output projections of the memory attention composed into one",
        _SAM2,
        _of_sam2,
        lambda network, _: use_composed_projections(network),
    ),
    Optimization(
        "channel_norm",
        "layer norm over channels in one pass over memory",
        _SAM2,
        _of_sam2,
        lambda network, _: use_channel_norm(network),
    ),
    Optimization(
        "folded_batch_norm",
        "batch norms folded into the convolutions before them (Jacob et al. 2018)",
        _SAM2,
        _of_sam2,
        lambda network, _: fold_batch_norms(network),
    ),
    Optimization(
        "memory_encoder",
        "memory encoder from low-resolution logits, its linear layers composed, in one dtype",
        f"on a CPU with bf16, by oneDNN's fused convolutions, {_SAM2}",
        lambda target: target.of_sam2 and target.on_cpu and target.has_fused_conv,
        lambda network, target: use_fast_memory_encoder(network, torch_dtype(target.precision)),
    ),
    Optimization(
        "reparameterized_trunk",
        "parallel branches and batch norms of the image trunk merged (RepVGG, Ding et al. 2021)",
        "with a RepViT trunk",
        lambda target: target.trunk == "repvit",
        lambda network, _: reparameterize_trunk(network),
    ),
    Optimization(
        "channels_last",
        "image encoder in channels-last (NHWC) memory layout",
        "on a CPU, with a convolutional trunk",
        lambda target: target.on_cpu and target.trunk in ("convolutional", "repvit"),
        _channels_last,
    ),
    Optimization(
        "int8",
        "image encoder by static quantization to 8-bit integers (Jacob et al. 2018)",
        "on a CPU in int8, with a model of calibrated ranges",
        lambda target: target.precision == "int8",
        _quantize,
        needs=("narrow_neck", "folded_batch_norm", "channels_last"),
    ),
    Optimization(
        "fused_conv",
        "convolutions of the image trunk fused with the ReLU6 after them, by oneDNN",
        "on a CPU in bf16, with a convolutional trunk but RepViT, by oneDNN's fused convolutions",
        lambda target: (
            target.on_cpu
            and target.precision == "bf16"
            and target.trunk == "convolutional"
            and target.has_fused_conv
        ),
        lambda network, _: fuse_convolutions(network.image_encoder.trunk),
        needs=("folded_batch_norm",),
    ),
    Optimization(
        CUDA_GRAPHS,
        "image encoder, memory attention, mask decoder and memory encoder replayed as CUDA graphs",
        f"on a GPU (CUDA), {_SAM2}",
        lambda target: target.of_sam2 and target.device_type == "cuda",
        lambda network, _: None,
    ),
)


def check_names(names: Iterable[str]) -> None:
    """Refuse what is no name of an optimization.

    Raises:
        UsageError: There is no optimization of that name.
    """
    known = [row.name for row in PLAN]
    for name in names:
        if name not in known:
            raise UsageError(f"unknown optimization {name!r}", f"known: {', '.join(known)}")


def switched_off(names: Iterable[str] = ()) -> frozenset[str]:
    """Optimizations that are off by name, here or in $TRACKD_WITHOUT, and those that need them.

    Raises:
        UsageError: There is no optimization of that name.
    """
    named = [name.strip() for name in os.environ.get(ENVIRONMENT, "").split(",")]
    off = {*names, *filter(None, named)}
    check_names(sorted(off))
    for row in PLAN:
        if off.intersection(row.needs):
            off.add(row.name)
    return frozenset(off)


def decide(target: Target, off: frozenset[str] = frozenset()) -> tuple[Decision, ...]:
    """Decide on each optimization for a target, in order.

    Args:
        target: What the network is optimized for.
        off: What is switched off, see `switched_off`.
    """
    return tuple(_decide(row, target, off) for row in PLAN)


def _decide(row: Optimization, target: Target, off: frozenset[str]) -> Decision:
    if row.name in off:
        missing = [name for name in row.needs if name in off]
        why = f"needs {missing[0]}, which is switched off" if missing else "switched off"
        return Decision(row, False, why)
    if not row.applies(target):
        return Decision(row, False, f"only {row.when}")
    return Decision(row, True, row.when)


def optimize(
    network: torch.nn.Module, target: Target, off: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """Apply the table to a network in eval mode that is not trained, on the CPU, in place.

    Returns the names of the optimizations that are on.
    """
    rows = [decision.optimization for decision in decide(target, off) if decision.on]
    for row in rows:
        row.apply(network, target)
    return tuple(row.name for row in rows)
