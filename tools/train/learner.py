"""One network in training: what is frozen, its rate, its optimizer and its averaged weights."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn

from tools.train.config import Phase, TrainConfig
from tracker.errors import UsageError
from tracker.models.optim.attention import use_plain_attention
from tracker.models.optim.fusion import fold_batch_norms

TRUNK = "image_encoder.trunk."
TOP_DOWN = TRUNK + "top_down."  # as new as what follows the trunk
MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Weights:
    """All tensors that a run goes on from, by name, on the CPU.

    Attributes:
        network: Parameters and buffers.
        average: Their average over the steps.
        moments: AdamW's, as NAME.exp_avg and so on, for what was ever trained.
    """

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]


class Learner:
    """Trains a network for one phase."""

    def __init__(
        self,
        network: SAM2Base,
        weights: Weights,
        phase: Phase,
        config: TrainConfig,
        device: torch.device,
    ) -> None:
        """Prepare a network for a phase.

        Args:
            network: With any weights, on the CPU.
            weights: What it goes on from.
            phase: What is trained, and at which rate.
            config: The run.
            device: Where to train.

        Raises:
            UsageError: A name in `phase.frozen` is nothing's, or nothing is left to train.
        """
        network.load_state_dict(weights.network)
        network.to(device).train()
        network.image_encoder.to(memory_format=torch.channels_last)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()  # a few clips are too few for statistics
        self.network, self.device = network, device
        self._phase, self._config = phase, config
        self._trained = _trained_parameters(network, phase.frozen)
        network.requires_grad_(False)
        for parameter in self._trained.values():
            parameter.requires_grad_(True)
        _fold_frozen_batch_norms(network.image_encoder.trunk)
        use_plain_attention(network)
        if device.type == "cpu":
            _train_depthwise_in_fp32(network)
        self._start = weights.network
        self._average = {name: t.to(device).clone() for name, t in weights.average.items()}
        self._idle_moments = dict(weights.moments)
        self._optimizer = self._make_optimizer()
        self._restore_moments()

    def _make_optimizer(self) -> torch.optim.AdamW:
        trunk = [p for name, p in self._trained.items() if _is_pretrained(name)]
        rest = [p for name, p in self._trained.items() if not _is_pretrained(name)]
        groups = [
            {"params": rest, "peak": self._phase.rate},
            {"params": trunk, "peak": self._phase.trunk_rate},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=0.0,
            weight_decay=self._config.weight_decay,
            fused=True,
        )

    def _restore_moments(self) -> None:
        for name, parameter in self._trained.items():
            if f"{name}.step" in self._idle_moments:
                self._optimizer.state[parameter] = {
                    key: self._idle_moments.pop(f"{name}.{key}").to(self.device) for key in MOMENTS
                }

    def step(self, done: int, total_done: int) -> tuple[float, float]:
        """Take a step along the gradients that were gathered.

        A gradient that is not finite is dropped: one bad batch must not end a run.

        Args:
            done: Steps of this phase so far.
            total_done: Steps of the run so far.

        Returns:
            The rate, and the norm of the gradient before clipping.
        """
        share = rate_share(self._phase, done)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        norm = nn.utils.clip_grad_norm_(self._trained.values(), self._config.clip_gradient).item()
        if math.isfinite(norm):
            self._optimizer.step()
            self._follow(total_done)
        self._optimizer.zero_grad(set_to_none=True)
        return self._phase.rate * share, norm

    @torch.no_grad()
    def _follow(self, total_done: int) -> None:
        """Move the average towards the weights, faster in the beginning."""
        keep = min(self._config.ema, (1 + total_done) / (10 + total_done))
        trained = [self._average[name] for name in self._trained]
        torch._foreach_lerp_(trained, list(self._trained.values()), 1 - keep)

    def weights(self) -> Weights:
        """All that another learner goes on from."""
        moments = dict(self._idle_moments)
        for name, parameter in self._trained.items():
            state = self._optimizer.state.get(parameter, {})
            moments |= {f"{name}.{key}": value for key, value in state.items()}
        network = self._start | _on_cpu(self._trained)
        return Weights(network, _on_cpu(self._average), _on_cpu(moments))


def _is_pretrained(name: str) -> bool:
    """True if a parameter is of the trunk proper, with a rate of its own."""
    return name.startswith(TRUNK) and not name.startswith(TOP_DOWN)


def _trained_parameters(network: nn.Module, frozen: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """Parameters by name, less those in modules that are frozen."""
    trained = dict(network.named_parameters())
    for module in frozen:
        inside = [n for n, _ in network.named_parameters() if f"{n}.".startswith(f"{module}.")]
        if not inside:
            raise UsageError(f"frozen: the network has nothing called {module!r}", "see the preset")
        for name in inside:
            trained.pop(name, None)
    if not trained:
        raise UsageError("frozen: nothing is left to train", "freeze less")
    return trained


def _fold_frozen_batch_norms(module: nn.Module) -> None:
    """Fold the batch norms of what is not trained, which renames what is in there."""
    if not any(parameter.requires_grad for parameter in module.parameters()):
        fold_batch_norms(module.eval())
        return
    for child in module.children():
        _fold_frozen_batch_norms(child)


def _train_depthwise_in_fp32(network: nn.Module) -> None:
    """Keep trained depthwise convolutions out of autocast: backward is four times as fast."""
    for module in network.modules():
        depthwise = isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        if depthwise and any(parameter.requires_grad for parameter in module.parameters()):
            module.forward = partial(_without_autocast, module.forward)


def _without_autocast(forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return forward(x.float())


def rate_share(phase: Phase, done: int) -> float:
    """Share of the peak rate after so many steps of a phase: a ramp, then a cosine."""
    ramp = min(1.0, (done + 1) / (phase.warmup + 1))
    fall = 0.5 * (1 + math.cos(math.pi * done / phase.steps))
    return ramp * (phase.final_rate + (1 - phase.final_rate) * fall)


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies of tensors on the CPU, laid out plainly."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()
    }
