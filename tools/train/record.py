"""Record of a run: averages over some steps, and scores, as rows of two tables."""

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import torch

from tools.evaluate.prompting import PromptKind
from tools.train.losses import Losses
from tools.train.table import Table

LOG_NAME, SCORES_NAME = "log.csv", "scores.csv"
LOG_COLUMNS = (
    "phase", "clips", "minutes", "rate", "gradient", "skipped",
    "loss", "focal", "dice", "iou", "presence",
    *(f"reached_{kind}" for kind in PromptKind), "clips_per_s",
)  # fmt: skip
SCORE_COLUMNS = ("minutes", "mean", *PromptKind)


class Record:
    """Gathers the figures of some steps and writes them down."""

    def __init__(self, folder: Path, step: int) -> None:
        """Go on with the tables of a folder from a step.

        Raises:
            OutputError: They cannot be written.
        """
        self._log = Table(folder / LOG_NAME, LOG_COLUMNS, up_to_step=step)
        self._scores = Table(folder / SCORES_NAME, SCORE_COLUMNS, up_to_step=step)
        self._begin()

    def _begin(self) -> None:
        self._parts: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._reached: dict[PromptKind, list[torch.Tensor]] = defaultdict(list)
        self._gradients: list[float] = []
        self._clips = 0
        self._started_s = time.monotonic()

    def add_pass(self, kind: PromptKind, losses: Losses, clips: int) -> None:
        """Take note of one pass; nothing waits for the device yet."""
        self._parts["loss"].append(losses.total.detach())
        for name in ("focal", "dice", "iou", "presence"):
            self._parts[name].append(getattr(losses, name).detach())
        self._reached[kind].append(losses.reached_n)
        self._clips += clips

    def add_step(self, gradient: float) -> None:
        """Take note of a step's gradient; one that is not finite was skipped."""
        self._gradients.append(gradient)

    def log(self, step: int, phase: int, clips: int, seconds: float, rate: float) -> str:
        """Write a row, begin the next one, and return the row in short for people."""
        values = {name: torch.stack(parts).mean().item() for name, parts in self._parts.items()}
        for kind in PromptKind:
            values[f"reached_{kind}"] = _mean_of_visible(self._reached[kind])
        finite = [norm for norm in self._gradients if math.isfinite(norm)]
        values["gradient"] = sum(finite) / max(1, len(finite))
        values["clips_per_s"] = self._clips / max(1e-9, time.monotonic() - self._started_s)
        row = {name: f"{value:.5f}" for name, value in values.items() if not math.isnan(value)}
        row |= {"phase": str(phase), "clips": str(clips), "rate": f"{rate:.3g}"}
        row["skipped"] = str(len(self._gradients) - len(finite))
        self._log.add(step, row | {"minutes": f"{seconds / 60:.2f}"})
        self._begin()
        reached = " ".join(f"{kind} {_short(values[f'reached_{kind}'])}" for kind in PromptKind)
        return f"loss {values['loss']:.3f}, IoU {reached}, {values['clips_per_s']:.1f} clips/s"

    def score(self, step: int, seconds: float, scores: Mapping[PromptKind, float]) -> float:
        """Write the scores of held-out videos, and return their mean."""
        mean = sum(scores.values()) / len(scores)
        row = {str(kind): f"{score:.4f}" for kind, score in scores.items()}
        self._scores.add(step, row | {"mean": f"{mean:.4f}", "minutes": f"{seconds / 60:.2f}"})
        self._started_s = time.monotonic()  # scoring is no training
        return mean


def _mean_of_visible(reached: list[torch.Tensor]) -> float:
    return torch.cat(reached).nanmean().item() if reached else math.nan


def _short(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
